{{- define "carillon.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "carillon.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "carillon.secretEnv" -}}
{{- range $name, $from := .Values.secrets.env }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.secretName }}
      key: {{ $from.key }}
{{- end }}
{{- end -}}

{{- define "carillon.mounts" -}}
- name: config
  mountPath: /etc/carillon
  readOnly: true
- name: secrets
  mountPath: /run/secrets/carillon
  readOnly: true
{{- end -}}

{{/* (dict "config" NAME-OF-CONFIGMAP "files" LIST) */}}
{{- define "carillon.volumes" -}}
- name: config
  configMap:
    name: {{ .config }}
- name: secrets
  projected:
    defaultMode: 0440
    {{- if .files }}
    sources:
      {{- range .files }}
      - secret:
          name: {{ .secretName }}
          items:
            - key: {{ .key }}
              path: {{ .path }}
      {{- end }}
    {{- else }}
    sources: []
    {{- end }}
{{- end -}}
