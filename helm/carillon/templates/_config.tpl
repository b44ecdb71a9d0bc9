{{/* The broker's settings: those of the values over those of the chart. */}}
{{- define "carillon.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "listen" "0.0.0.0:8080" -}}
{{- if ne (int64 .Values.workers) 1 -}}
{{- $_ := set $config "workers" (int64 .Values.workers) -}}
{{- end -}}
{{- $_ := set $config "admin" (merge (dict "listen" "0.0.0.0:9090") (default (dict) $config.admin)) -}}
{{- if and (or .Values.ingress.enabled .Values.gateway.enabled .Values.canary.of) (not (hasKey $config "trustedProxies")) -}}
{{- $_ := set $config "trustedProxies" 1 -}}
{{- end -}}
{{- if include "carillon.nats" . -}}
{{- $nats := default (dict) $config.nats -}}
{{- if .Values.nats.install -}}
{{- $nats = merge (dict "url" (printf "nats://%s-nats:4222" (include "carillon.fullname" .))) $nats -}}
{{- else if and .Values.streams.job (not (hasKey $nats "manageStreams")) -}}
{{- $_ := set $nats "manageStreams" false -}}
{{- end -}}
{{- $_ := set $config "nats" $nats -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}

{{/* Those of the Job that makes the streams. */}}
{{- define "carillon.streamsConfig" -}}
{{ toYaml (mergeOverwrite (include "carillon.config" . | fromYaml) (deepCopy .Values.streams.config)) }}
{{- end -}}

{{/* A duration as the broker reads it (25s, 500ms, or a plain number of UNIT), in milliseconds: (list NAME DURATION UNIT) */}}
{{- define "carillon.milliseconds" -}}
{{- $value := index . 1 -}}
{{- $units := dict "" (index . 2) "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- if or (kindIs "float64" $value) (kindIs "int64" $value) (kindIs "int" $value) -}}
{{ mul $value (index . 2) }}
{{- else -}}
{{- $unit := regexFind "[a-z]*$" (toString $value) -}}
{{- $amount := trimSuffix $unit (toString $value) | trim -}}
{{- if not (and (hasKey $units $unit) (regexMatch "^[0-9]+([.][0-9]+)?$" $amount)) -}}
{{- fail (printf "config.%s is %q: expected a duration such as 500ms, 25s or 10m" (index . 0) (toString $value)) -}}
{{- end -}}
{{ mulf (float64 $amount) (get $units $unit) | ceil | int64 }}
{{- end -}}
{{- end -}}

{{/* Seconds that a pod needs to end: preStop, the drain, and the 5 s that the broker gives itself to close what is left. */}}
{{- define "carillon.needed" -}}
{{- $deadline := default "25s" (dig "drain" "deadlineMs" "" .Values.config) -}}
{{- $ms := include "carillon.milliseconds" (list "drain.deadlineMs" $deadline 1) | int64 -}}
{{ add .Values.drain.preStopSeconds (div (add $ms 999) 1000) 5 }}
{{- end -}}

{{- define "carillon.grace" -}}
{{- $needed := include "carillon.needed" . | int64 -}}
{{- $given := .Values.drain.terminationGracePeriodSeconds | int64 -}}
{{- if eq $given 0 -}}
{{ add $needed 5 }}
{{- else if lt $given $needed -}}
{{- fail (printf "drain.terminationGracePeriodSeconds is %d: the drain needs %d (drain.preStopSeconds %d + config.drain.deadlineMs + 5), or clients are cut off. Set it to 0 to have it computed" $given $needed (int64 .Values.drain.preStopSeconds)) -}}
{{- else -}}
{{ $given }}
{{- end -}}
{{- end -}}

{{/* How long a proxy keeps a silent connection, in seconds. */}}
{{- define "carillon.idleTimeout" -}}
{{- $idle := div (include "carillon.milliseconds" (list "heartbeat.idleSeconds" (dig "heartbeat" "idleSeconds" 30 .Values.config) 1000) | int64) 1000 -}}
{{- $given := .Values.ingress.idleTimeoutSeconds | int64 -}}
{{- if eq $given 0 -}}
{{ div (mul $idle 5) 2 }}
{{- else if le $given $idle -}}
{{- fail (printf "ingress.idleTimeoutSeconds is %d: connections may be silent for %d s (config.heartbeat.idleSeconds); give more, or 0 to have it computed" $given $idle) -}}
{{- else -}}
{{ $given }}
{{- end -}}
{{- end -}}

{{/* Whether there is NATS: in the settings, from a Secret or another variable, or the chart's own. */}}
{{- define "carillon.nats" -}}
{{- if or .Values.config.nats .Values.nats.install (include "carillon.variable" (list . "CARILLON_NATS__URL")) -}}true{{- end -}}
{{- end -}}

{{/* Whether the pods have this variable, as far as the values tell: (list ROOT NAME). What envFrom brings they do not. */}}
{{- define "carillon.variable" -}}
{{- $values := (index . 0).Values -}}
{{- $name := index . 1 -}}
{{- if hasKey $values.secrets.env $name -}}true{{- end -}}
{{- range $values.env -}}{{- if eq .name $name -}}true{{- end -}}{{- end -}}
{{- end -}}

{{- define "carillon.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int64 .Values.replicas) 1) -}}true{{- end -}}
{{- end -}}

{{/* What a pod does before SIGTERM. No shell and no sleep of the image's; where the command fails, SIGTERM drains. */}}
{{- define "carillon.preStop" -}}
{{- $file := dig "admin" "tokenFile" "" .Values.config -}}
{{- if and .Values.drain.command (or $file (include "carillon.variable" (list . "CARILLON_ADMIN_TOKEN"))) -}}
exec:
  command:
    - node
    - dist/cli.js
    - drain
    - --wait
    - --after={{ .Values.drain.preStopSeconds }}s
    - --admin=http://127.0.0.1:9090
    {{- with $file }}
    - --admin-token-file={{ . }}
    {{- end }}
{{- else if .Values.drain.preStopSeconds -}}
sleep:
  seconds: {{ .Values.drain.preStopSeconds }}
{{- end -}}
{{- end -}}
