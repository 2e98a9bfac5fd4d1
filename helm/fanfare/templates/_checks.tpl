{{/* Mistakes that the schema cannot name well. All at once, none with a secret in it. */}}
{{- define "fanfare.check" -}}
{{- $mistakes := concat
    (include "fanfare.checkSecrets" . | fromYamlArray)
    (include "fanfare.checkSettings" . | fromYamlArray)
    (include "fanfare.checkFeatures" . | fromYamlArray) }}
{{- if $mistakes }}
{{- fail (printf "\n\nthe values have %d mistake(s):\n  %s\n" (len $mistakes) (join "\n  " $mistakes)) }}
{{- end }}
{{- end }}

{{- define "fanfare.checkSecrets" -}}
{{- $dev := .Values.dev.enabled }}
{{- $required := list "storeUrl" "brokerUrl" "redisUrl" }}
{{- $forms := dict
    "storeUrl" (list "^postgres(ql)?://" "must begin with postgres://")
    "brokerUrl" (list "^amqps?://" "must begin with amqp:// or amqps://")
    "redisUrl" (list "^rediss?://" "must begin with redis:// or rediss://")
    "masterKey" (list "^[A-Za-z0-9+/]{43}=$" "must be 32 random bytes in base64, as `openssl rand -base64 32` prints them")
    "bootstrapApiKey" (list "." "")
    "brokerManagementUrl" (list "^https?://" "must begin with http:// or https://") }}
{{- $keys := dict }}
{{- range $name, $given := .Values.secrets }}
{{- if $given.value }}
{{- with index $keys $given.key }}
- "secrets.{{ $name }}.key: {{ . }} has the same key in the chart's Secret"
{{- end }}
{{- $_ := set $keys $given.key $name }}
{{- end }}
{{- if and $given.value $given.secret }}
- "secrets.{{ $name }}: give a value or an existing secret, not both"
{{- end }}
{{- with $given.value }}
{{- $form := index $forms $name }}
{{- if not (regexMatch (first $form) .) }}
- {{ printf "secrets.%s.value %s" $name (last $form) | quote }}
{{- end }}
{{- end }}
{{- if has $name $required }}
{{- $given := or $given.value $given.secret }}
{{- if and $dev $given }}
- "secrets.{{ $name }}: dev.enabled brings its own; leave one of the two out"
{{- else if not (or $dev $given) }}
- "secrets.{{ $name }} is required: a value or the name of an existing secret (for a trial without any: dev.enabled=true)"
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanfare.checkSettings" -}}
{{- $elsewhere := dict
    "store.url" "secrets.storeUrl"
    "broker.url" "secrets.brokerUrl"
    "broker.management_url" "secrets.brokerManagementUrl"
    "redis.url" "secrets.redisUrl"
    "security.master_key" "secrets.masterKey"
    "bootstrap.api_key" "secrets.bootstrapApiKey"
    "http.listen" "http.address and http.port" }}
{{- range $section, $keys := .Values.settings }}
{{- range $key, $value := $keys }}
{{- with index $elsewhere (printf "%s.%s" $section $key) }}
- "settings.{{ $section }}.{{ $key }}: use {{ . }}"
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanfare.checkFeatures" -}}
{{- if not .Values.image.repository }}
- "image.repository is required: where your image is, as built from deploy/Dockerfile"
{{- end }}
{{- $scaling := .Values.dispatcher.autoscaling }}
{{- if and $scaling.enabled (eq $scaling.kind "keda") (not $scaling.keda.serverAddress) }}
- "dispatcher.autoscaling.keda.serverAddress is required: where KEDA reaches Prometheus"
{{- end }}
{{- $exporters := ternary (not $scaling.keda.query) (eq $scaling.hpa.metric "fanfare_oldest_overdue_seconds") (eq $scaling.kind "keda") }}
{{- if and $scaling.enabled $exporters (not .Values.exporter.enabled) }}
- "dispatcher.autoscaling: the metric is the exporter's; enable the exporter, or give another metric"
{{- end }}
{{- range $role := list "ingest" "dispatcher" }}
{{- $scaling := (index $.Values $role).autoscaling }}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
- "{{ $role }}.autoscaling: minReplicas is more than maxReplicas"
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
- "ingress.hosts is required with ingress.enabled"
{{- end }}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) }}
- "gateway.parentRefs is required with gateway.enabled"
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.dev.enabled) (not .Values.networkPolicy.dependencies) }}
- "networkPolicy.dependencies is required with networkPolicy.enabled: without it no pod reaches PostgreSQL, RabbitMQ and Redis"
{{- end }}
{{- with .Values.networkPolicy }}
{{- if and .enabled .ingestFrom (not .metricsFrom) $.Values.serviceMonitor.enabled }}
- "networkPolicy.metricsFrom is required with networkPolicy.ingestFrom: without it Prometheus does not reach ingest"
{{- end }}
{{- end }}
{{- if and .Values.dev.enabled (eq .Values.migrations.mode "hook") }}
- "migrations.mode: with dev.enabled there is nothing to migrate before the install; leave it empty"
{{- end }}
{{- end }}
