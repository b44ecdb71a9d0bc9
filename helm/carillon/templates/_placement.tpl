{{- define "carillon.spread" -}}
{{- $selector := printf "%s\napp.kubernetes.io/component: broker" (include "carillon.selector" .) -}}
{{- if ne .Values.antiAffinity "none" }}
affinity:
  podAntiAffinity:
    {{- if eq .Values.antiAffinity "required" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- $selector | nindent 12 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- $selector | nindent 14 }}
    {{- end }}
{{- end }}
{{- if .Values.zoneSkew }}
topologySpreadConstraints:
  - topologyKey: topology.kubernetes.io/zone
    maxSkew: {{ .Values.zoneSkew }}
    whenUnsatisfiable: ScheduleAnyway
    # Each version by itself: otherwise the pods of a rollout are spread among those that go.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
{{- end }}
{{- end -}}

{{- define "carillon.probes" -}}
# The start may wait 30 s for NATS (nats.startTimeoutMs).
startupProbe:
  httpGet: { path: /startupz, port: admin }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 45
# Not for NATS, and not soon: a restart ends every connection of the pod.
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}
