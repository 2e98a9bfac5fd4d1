{{/* The settings that are no secrets, as a map of variables. */}}
{{- define "fanfare.settings" -}}
FANFARE__HTTP__LISTEN: {{ printf "%s:%d" .Values.http.address (int .Values.http.port) | quote }}
{{- range $section, $keys := .Values.settings }}
{{- range $key, $value := $keys }}
{{- if kindIs "slice" $value }}{{ $value = join "," $value }}{{ end }}
{{- /* Numbers come as floating point, which would be written 2.5e+07. */}}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value = int64 $value }}{{ end }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
{{ printf "FANFARE__%s__%s" $section $key | upper }}: {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The variable of each secret. */}}
{{- define "fanfare.secretVariables" -}}
storeUrl: FANFARE__STORE__URL
brokerUrl: FANFARE__BROKER__URL
redisUrl: FANFARE__REDIS__URL
masterKey: FANFARE__SECURITY__MASTER_KEY
otherMasterKey: FANFARE__SECURITY__OTHER_MASTER_KEY
bootstrapApiKey: FANFARE__BOOTSTRAP__API_KEY
brokerManagementUrl: FANFARE__BROKER__MANAGEMENT_URL
{{- end }}

{{/* Which secrets the trial's own services provide. */}}
{{- define "fanfare.devSecrets" -}}
{{- if .Values.dev.enabled }}storeUrl brokerUrl redisUrl{{ end }}
{{- end }}

{{/*
The secrets as variables of a container. With `hook` all that the chart itself makes is read from the
hook's Secret, since the others do not exist before an install and are the old ones before an upgrade.
*/}}
{{- define "fanfare.secretEnv" -}}
{{- $root := .root }}
{{- $fullname := include "fanfare.fullname" $root }}
{{- $dev := splitList " " (include "fanfare.devSecrets" $root) }}
{{- range $name, $variable := include "fanfare.secretVariables" $root | fromYaml }}
{{- $given := index $root.Values.secrets $name }}
{{- $from := "" }}
{{- if $given.secret }}
{{- $from = $given.secret }}
{{- else if has $name $dev }}
{{- $from = printf "%s-dev" $fullname }}
{{- else if $.hook }}
{{- $from = ternary (printf "%s-migrate" $fullname) "" (or (eq $name "masterKey") (ne $given.value "")) }}
{{- else if eq $name "masterKey" }}
{{- $from = printf "%s-master-key" $fullname }}
{{- else if $given.value }}
{{- $from = $fullname }}
{{- end }}
{{- if $from }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $from }}
      key: {{ $given.key }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the chart's own Secret holds. */}}
{{- define "fanfare.secretData" -}}
{{- range $name, $given := .Values.secrets }}
{{- if and $given.value (not $given.secret) (ne $name "masterKey") }}
{{ $given.key }}: {{ $given.value | b64enc }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The master key in clear: the one that is there, else the one given, else a new one. Call it once in a rendering.
*/}}
{{- define "fanfare.masterKey" -}}
{{- $name := printf "%s-master-key" (include "fanfare.fullname" .) }}
{{- $given := .Values.secrets.masterKey }}
{{- $there := lookup "v1" "Secret" .Release.Namespace $name }}
{{- if $there }}
{{- $key := index ($there.data | default dict) $given.key | default "" | b64dec }}
{{- if not $key }}
{{- fail (printf "the Secret %s has no key %s" $name $given.key) }}
{{- end }}
{{- if and $given.value (ne $given.value $key) }}
{{- fail (printf "secrets.masterKey.value is not the key in the Secret %s: the endpoints' secrets are sealed with that one" $name) }}
{{- end }}
{{- $key }}
{{- else }}
{{- if and (not $given.value) (lookup "apps/v1" "Deployment" .Release.Namespace (printf "%s-ingest" (include "fanfare.fullname" .))) }}
{{- fail (printf "the Secret %s is gone, and with a new key the endpoints' secrets could not be read: restore it, or give the key as secrets.masterKey" $name) }}
{{- end }}
{{- $given.value | default (randBytes 32) }}
{{- end }}
{{- end }}
