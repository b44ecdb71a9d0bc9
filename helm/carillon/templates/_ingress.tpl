{{/*
Every proxy cuts connections that are silent for too long; the broker's pings are what keeps them busy. What is cut has
to be dead: hence more than the heartbeat, and not hours, which would keep dead ones.
*/}}
{{- define "carillon.ingressTimeouts" -}}
{{- $idle := include "carillon.idleTimeout" . -}}
{{- $controller := .Values.ingress.controller -}}
{{- $tls := hasKey .Values.config "tls" -}}
{{- if eq $controller "nginx" }}
nginx.ingress.kubernetes.io/proxy-connect-timeout: "5"
nginx.ingress.kubernetes.io/proxy-read-timeout: {{ $idle | quote }}
nginx.ingress.kubernetes.io/proxy-send-timeout: {{ $idle | quote }}
{{- if $tls }}
nginx.ingress.kubernetes.io/backend-protocol: HTTPS
{{- end }}
{{- if .Values.canary.of }}
nginx.ingress.kubernetes.io/canary: "true"
nginx.ingress.kubernetes.io/canary-weight: {{ .Values.canary.weight | toString | quote }}
{{- end }}
{{- else if eq $controller "nginx-inc" }}
nginx.org/websocket-services: {{ include "carillon.fullname" . }}
nginx.org/proxy-connect-timeout: 5s
nginx.org/proxy-read-timeout: {{ $idle }}s
nginx.org/proxy-send-timeout: {{ $idle }}s
{{- if $tls }}
nginx.org/ssl-services: {{ include "carillon.fullname" . }}
{{- end }}
{{- else if eq $controller "haproxy" }}
haproxy.org/timeout-connect: 5s
haproxy.org/timeout-tunnel: {{ $idle }}s
{{- if $tls }}
haproxy.org/server-ssl: "true"
{{- end }}
{{- else if eq $controller "alb" }}
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/load-balancer-attributes: idle_timeout.timeout_seconds={{ $idle }}
alb.ingress.kubernetes.io/target-group-attributes: deregistration_delay.timeout_seconds={{ include "carillon.grace" . }}
{{- if $tls }}
alb.ingress.kubernetes.io/backend-protocol: HTTPS
alb.ingress.kubernetes.io/healthcheck-protocol: HTTPS
{{- end }}
{{- /* On the port of the traffic: the network policy keeps the balancer away from the admin port, and so it should. */}}
alb.ingress.kubernetes.io/healthcheck-path: /healthz
alb.ingress.kubernetes.io/healthcheck-interval-seconds: "5"
alb.ingress.kubernetes.io/healthcheck-timeout-seconds: "2"
alb.ingress.kubernetes.io/unhealthy-threshold-count: "2"
alb.ingress.kubernetes.io/success-codes: "200"
{{- end }}
{{- end -}}
