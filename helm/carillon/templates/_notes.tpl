{{/* Where clients connect: the outermost of what the values make. */}}
{{- define "carillon.clientsNote" -}}
{{- $full := include "carillon.fullname" . -}}
{{- $namespace := .Release.Namespace -}}
{{- $type := .Values.service.type -}}
{{- $scheme := hasKey .Values.config "tls" | ternary "wss" "ws" -}}
{{- $port := int64 .Values.service.port -}}
{{- $colon := eq $port (hasKey .Values.config "tls" | ternary 443 80 | int64) | ternary "" (printf ":%d" $port) -}}
{{- if .Values.ingress.enabled -}}
{{- $secured := dict -}}
{{- range .Values.ingress.tls -}}{{- range .hosts -}}{{- $_ := set $secured . true -}}{{- end -}}{{- end -}}
{{- range $at, $each := default (list "") .Values.ingress.hosts -}}
{{- $host := kindIs "map" $each | ternary (get (kindIs "map" $each | ternary $each dict) "host") $each -}}
{{- $tls := and $.Values.ingress.tls (or (not $secured) (hasKey $secured (default "" $host))) -}}
{{- if $at }}
{{ end }}
{{- printf "  clients      %s://%s/connect, with a token" (empty $tls | ternary "ws" "wss") (default "ADDRESS-OF-THE-INGRESS" $host) -}}
{{- end -}}
{{- else if .Values.gateway.enabled -}}
{{- range $at, $host := default (list "HOST-OF-THE-GATEWAY") .Values.gateway.hostnames -}}
{{- if $at }}
{{ end }}
{{- printf "  clients      wss://%s/connect, with a token (ws:// where the listener of the Gateway has no TLS)" $host -}}
{{- end -}}
{{- else if eq $type "LoadBalancer" -}}
{{- printf "  clients      %s://ADDRESS%s/connect, with a token; ADDRESS is what this prints, once the balancer is there:\n" $scheme $colon -}}
{{- printf "               kubectl get service %s --namespace %s -o jsonpath='{.status.loadBalancer.ingress[0].hostname}{.status.loadBalancer.ingress[0].ip}'" $full $namespace -}}
{{- else if eq $type "NodePort" -}}
{{- if .Values.service.nodePort -}}
{{- printf "  clients      %s://ANY-NODE:%d/connect, with a token" $scheme (int64 .Values.service.nodePort) -}}
{{- else -}}
{{- printf "  clients      %s://ANY-NODE:PORT/connect, with a token; PORT is what this prints:\n" $scheme -}}
{{- printf "               kubectl get service %s --namespace %s -o jsonpath='{.spec.ports[0].nodePort}'" $full $namespace -}}
{{- end -}}
{{- else -}}
{{- printf "  clients      %s://%s.%s.svc%s/connect, with a token, from within the cluster\n" $scheme $full $namespace $colon -}}
{{- printf "               from here: kubectl port-forward --namespace %s service/%s 8080:%d, then %s://127.0.0.1:8080/connect" $namespace $full $port $scheme -}}
{{- end -}}
{{- end -}}
