{{/* Whatever is null in the values is not there: a user takes a default away so, whichever helm it is. */}}
{{- define "carillon.given" -}}
{{- $given := dict -}}
{{- range $name, $value := default (dict) . -}}
{{- if not (kindIs "invalid" $value) -}}{{- $_ := set $given $name $value -}}{{- end -}}
{{- end -}}
{{ toYaml $given }}
{{- end -}}

{{/* What all pods of the chart have, the broker's, the Job's and that of helm test: the start of their spec. */}}
{{- define "carillon.podBase" -}}
{{- $values := .Values -}}
enableServiceLinks: false
{{- with include "carillon.given" $values.podSecurityContext | fromYaml }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with $values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Of pods that run once: where the broker's may run, but not away from one another. */}}
{{- define "carillon.nodeAffinity" -}}
{{- with .Values.affinity.nodeAffinity }}
affinity:
  nodeAffinity:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "carillon.containerSecurity" -}}
{{- with include "carillon.given" .Values.securityContext | fromYaml }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Of the broker and the Job. */}}
{{- define "carillon.env" -}}
{{- range $name, $from := .Values.secrets.env }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.secretName }}
      key: {{ $from.key }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "carillon.mounts" -}}
- name: config
  mountPath: /etc/carillon
  readOnly: true
- name: secrets
  mountPath: /run/secrets/carillon
  readOnly: true
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (list ROOT NAME-OF-CONFIGMAP FILES) */}}
{{- define "carillon.volumes" -}}
{{- $files := index . 2 -}}
- name: config
  configMap:
    name: {{ index . 1 }}
- name: secrets
  projected:
    defaultMode: 0440
    {{- if $files }}
    sources:
      {{- range $files }}
      - secret:
          name: {{ .secretName }}
          items:
            - key: {{ .key }}
              path: {{ .path }}
      {{- end }}
    {{- else }}
    sources: []
    {{- end }}
{{- with (index . 0).Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
