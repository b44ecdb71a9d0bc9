{{- define "carillon.spread" -}}
{{- $selector := dict "matchLabels" (printf "%s\napp.kubernetes.io/component: broker" (include "carillon.selector" .) | fromYaml) -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- if not (or (eq .Values.antiAffinity "none") (hasKey $affinity "podAntiAffinity")) -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" $selector -}}
{{- if eq .Values.antiAffinity "required" -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term)) -}}
{{- else -}}
{{- $weighted := dict "weight" 100 "podAffinityTerm" $term -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list $weighted)) -}}
{{- end -}}
{{- end -}}
{{- with $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range .Values.topologySpreadConstraints }}
  - {{- toYaml (merge (deepCopy .) (dict "labelSelector" $selector)) | nindent 4 }}
  {{- end }}
{{- else if .Values.zoneSkew }}
topologySpreadConstraints:
  - topologyKey: topology.kubernetes.io/zone
    maxSkew: {{ .Values.zoneSkew }}
    whenUnsatisfiable: ScheduleAnyway
    # Each version by itself: otherwise the pods of a rollout are spread among those that go.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      {{- toYaml $selector | nindent 6 }}
{{- end }}
{{- end -}}

{{/* (list GIVEN OWN): a handler that is given takes the place of the chart's. */}}
{{- define "carillon.probe" -}}
{{- $given := index . 0 -}}
{{- $own := index . 1 | fromYaml -}}
{{- if or $given.exec $given.tcpSocket $given.grpc -}}{{- $own = omit $own "httpGet" -}}{{- end -}}
{{ toYaml (mergeOverwrite $own (deepCopy $given)) }}
{{- end -}}

{{- define "carillon.probes" -}}
# The start may wait 30 s for NATS (nats.startTimeoutMs).
startupProbe:
  {{- include "carillon.probe" (list .Values.startupProbe "{ httpGet: { path: /startupz, port: admin }, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 45 }") | nindent 2 }}
# Not for NATS, and not soon: a restart ends every connection of the pod.
livenessProbe:
  {{- include "carillon.probe" (list .Values.livenessProbe "{ httpGet: { path: /livez, port: admin }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 }") | nindent 2 }}
readinessProbe:
  {{- include "carillon.probe" (list .Values.readinessProbe "{ httpGet: { path: /readyz, port: admin }, periodSeconds: 5, timeoutSeconds: 2, failureThreshold: 2 }") | nindent 2 }}
{{- end -}}
