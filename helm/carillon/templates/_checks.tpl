{{/* What the schema of the values cannot say. Each problem names its value and the fix. */}}
{{- define "carillon.checks" -}}
{{- $config := .Values.config -}}
{{- range list "listen" "node" -}}
{{- if and (hasKey $config .) (or (eq . "listen") (hasKey (get $config .) "serverId")) -}}
{{- fail (printf "config.%s is set by the chart: take it out (service.port is the port of the service)" (eq . "listen" | ternary "listen" "node.serverId")) -}}
{{- end -}}
{{- end -}}
{{- if hasKey $config "workers" -}}
{{- fail "config.workers is set by the chart: take it out, and set workers beside config" -}}
{{- end -}}
{{- if dig "admin" "listen" "" $config -}}
{{- fail "config.admin.listen is set by the chart: take it out" -}}
{{- end -}}
{{- include "carillon.checkSecrets" . -}}
{{- if not (or (include "carillon.authenticates" $config) (include "carillon.variable" (list . "CARILLON_JWT_SECRET")) .Values.envFrom) -}}
{{- fail "nothing to verify tokens with: set config.auth.jwksUrl, or config.auth.keys with secretFile or publicKeyFile (and secrets.files), or secrets.env.CARILLON_JWT_SECRET" -}}
{{- end -}}
{{- if and .Values.nats.install (or (dig "nats" "url" "" $config) (include "carillon.variable" (list . "CARILLON_NATS__URL"))) -}}
{{- fail "nats.install makes a NATS of its own: take out config.nats.url and CARILLON_NATS__URL, or set nats.install: false" -}}
{{- end -}}
{{- if include "carillon.nats" . -}}
{{- if and $config.nats (not .Values.nats.install) (not (and (or .Values.envFrom (include "carillon.variable" (list . "CARILLON_NATS__URL"))) (not $config.nats.url))) -}}
{{- $urls := $config.nats.url | default "" -}}
{{- range kindIs "slice" $urls | ternary $urls (splitList "," (toString $urls)) -}}
{{- if not (regexMatch "^(nats|tls)://[^/\\s]+/?$" (trim (toString .))) -}}
{{- fail "config.nats.url: expected a URL such as nats://nats:4222 or tls://nats.nats.svc:4222, or several with commas between them; from a Secret: secrets.env.CARILLON_NATS__URL" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- if include "carillon.several" . -}}
{{- fail "several pods are one broker through NATS only: set config.nats.url, or secrets.env.CARILLON_NATS__URL, or replicas: 1 and autoscaling.enabled: false" -}}
{{- end -}}
{{- if or .Values.canary.of .Values.canary.service -}}
{{- fail "a canary shares its rooms through NATS: set config.nats.url as in the other release" -}}
{{- end -}}
{{- end -}}
{{- include "carillon.checkExposure" . -}}
{{- $service := .Values.service -}}
{{- range list "loadBalancerClass" "loadBalancerIP" "loadBalancerSourceRanges" -}}
{{- if and (get $service .) (ne $service.type "LoadBalancer") -}}
{{- fail (printf "service.%s is for service.type: LoadBalancer, and it is %s" . $service.type) -}}
{{- end -}}
{{- end -}}
{{- if and $service.nodePort (eq $service.type "ClusterIP") -}}
{{- fail "service.nodePort is for service.type: NodePort or LoadBalancer, and it is ClusterIP" -}}
{{- end -}}
{{- range $values, $labels := dict "labels" .Values.labels "podLabels" .Values.podLabels -}}
{{- range $name, $_ := $labels -}}
{{- if regexMatch "^(app[.]kubernetes[.]io/(name|instance|component|version|managed-by)|helm[.]sh/chart)$" $name -}}
{{- fail (printf "%s: %s is set by the chart: take it out" $values $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $scaling := .Values.autoscaling -}}
{{- if and $scaling.enabled (lt (int64 $scaling.maxReplicas) (int64 $scaling.minReplicas)) -}}
{{- fail (printf "autoscaling.maxReplicas is %d: expected autoscaling.minReplicas (%d) or more" (int64 $scaling.maxReplicas) (int64 $scaling.minReplicas)) -}}
{{- end -}}
{{- if and $scaling.enabled (not (or $scaling.connections $scaling.loopLagMs $scaling.cpuPercent)) -}}
{{- fail "autoscaling.enabled is true, and connections, loopLagMs and cpuPercent are all 0: there is nothing to scale by" -}}
{{- end -}}
{{- end -}}

{{/* A ConfigMap is no place for secrets: whoever may look at the release would have them. */}}
{{- define "carillon.checkSecrets" -}}
{{- $auth := default (dict) .Values.config.auth -}}
{{- $hint := "secrets belong into a Secret: name its file (secrets.files) or its variable (secrets.env)" -}}
{{- if dig "admin" "token" "" .Values.config -}}{{- fail (printf "config.admin.token: %s; here with config.admin.tokenFile" $hint) -}}{{- end -}}
{{- if dig "tickets" "secrets" "" .Values.config -}}{{- fail (printf "config.tickets.secrets: %s; here CARILLON_TICKETS__SECRETS__0" $hint) -}}{{- end -}}
{{- if dig "webhook" "secret" "" $auth -}}{{- fail (printf "config.auth.webhook.secret: %s; here with secretFile" $hint) -}}{{- end -}}
{{- range $issuer := prepend (default (list) $auth.issuers) $auth -}}
{{- range default (list) $issuer.keys -}}
{{- if .secret -}}{{- fail (printf "config.auth: the key %q has a secret; %s; here with secretFile" (toString .kid) $hint) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if dig "lifecycle" "webhook" "secret" "" .Values.config -}}{{- fail (printf "config.lifecycle.webhook.secret: %s; here CARILLON_LIFECYCLE__WEBHOOK__SECRET" $hint) -}}{{- end -}}
{{- if dig "tracing" "authorization" "" .Values.config -}}{{- fail (printf "config.tracing.authorization: %s; here CARILLON_TRACING__AUTHORIZATION" $hint) -}}{{- end -}}
{{- range $name, $url := dict "config.nats.url" (dig "nats" "url" "" .Values.config) "streams.config.nats.url" (dig "nats" "url" "" .Values.streams.config) -}}
{{- if contains "@" (toString $url) -}}{{- fail (printf "%s has a user or a password; %s; best nkeySeedFile or credsFile" $name $hint) -}}{{- end -}}
{{- end -}}
{{- range .Values.env -}}
{{- if and .value (regexMatch "^CARILLON_.*(SECRET|PASSWORD|TOKEN|NKEYSEED|AUTHORIZATION)(S?__[0-9]+)?$" .name) -}}
{{- fail (printf "env: %s has a value; secrets belong into a Secret: name it in secrets.env" .name) -}}
{{- end -}}
{{- end -}}
{{- range list "password" "token" "nkeySeed" -}}
{{- if dig "nats" . "" $.Values.config -}}{{- fail (printf "config.nats.%s: %s; best nkeySeedFile or credsFile" . $hint) -}}{{- end -}}
{{- if dig "nats" . "" $.Values.streams.config -}}{{- fail (printf "streams.config.nats.%s: %s; best nkeySeedFile or credsFile" . $hint) -}}{{- end -}}
{{- end -}}
{{- include "carillon.checkFiles" (dict "name" "config" "settings" .Values.config "files" .Values.secrets.files) -}}
{{- include "carillon.checkFiles" (dict "name" "streams.config" "settings" .Values.streams.config "files" (concat .Values.secrets.files .Values.streams.files)) -}}
{{- end -}}

{{/* What settings name below the mounted folder, is mounted, and once. (dict "name" NAME "settings" SETTINGS "files" LIST) */}}
{{- define "carillon.checkFiles" -}}
{{- $paths := list -}}
{{- range .files -}}
{{- if has .path $paths -}}{{- fail (printf "secrets.files and streams.files have the path %q twice: each entry needs one of its own" .path) -}}{{- end -}}
{{- $paths = append $paths .path -}}
{{- end -}}
{{- range regexFindAll "/run/secrets/carillon/[A-Za-z0-9._/-]+" (toJson .settings) -1 -}}
{{- if not (has (trimPrefix "/run/secrets/carillon/" .) $paths) -}}
{{- fail (printf "%s names %s, which no entry of secrets.files mounts: add { secretName, key, path: %s }" $.name . (trimPrefix "/run/secrets/carillon/" .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "carillon.authenticates" -}}
{{- $auth := default (dict) .auth -}}
{{- if or $auth.keys $auth.jwksUrl $auth.jwksFile $auth.issuers $auth.webhook -}}true{{- end -}}
{{- end -}}

{{- define "carillon.checkExposure" -}}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) -}}
{{- fail "gateway.parentRefs is empty: name the Gateway that the HTTPRoute belongs to" -}}
{{- end -}}
{{- if and .Values.canary.of .Values.canary.service -}}
{{- fail "canary.of and canary.service: a release is the canary of another (of), or has one (service), not both" -}}
{{- end -}}
{{- range list "of" "service" -}}
{{- if eq (get $.Values.canary .) (include "carillon.fullname" $) -}}
{{- fail (printf "canary.%s is %q, this release itself: name the other one" . (get $.Values.canary .)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.canary.of .Values.gateway.enabled -}}
{{- fail "gateway.enabled: the HTTPRoute stands in the release that has the canary (canary.service there), not in the canary" -}}
{{- end -}}
{{- if and .Values.canary.of .Values.ingress.enabled (ne .Values.ingress.controller "nginx") -}}
{{- fail (printf "ingress.controller is %q: only nginx has Ingresses with a weight. Use the Gateway API: canary.service and gateway.enabled in the other release" .Values.ingress.controller) -}}
{{- end -}}
{{- end -}}
