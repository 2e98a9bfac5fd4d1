{{/* Every role that is deployed. */}}
{{- define "fanfare.roles" -}}
ingest dispatcher{{ if .Values.exporter.enabled }} exporter{{ end }}
{{- end }}

{{- define "fanfare.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for the longest suffix, within the 63 characters of a label. */}}
{{- define "fanfare.fullname" -}}
{{- $name := include "fanfare.name" . }}
{{- $made := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $made .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* What never changes: the part of the labels that selectors use. */}}
{{- define "fanfare.selector" -}}
app.kubernetes.io/name: {{ include "fanfare.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The labels of an object: root, component, and perhaps labels of its own. */}}
{{- define "fanfare.labels" -}}
{{- $labels := include "fanfare.selector" . | fromYaml }}
{{- $_ := set $labels "app.kubernetes.io/part-of" "fanfare" }}
{{- $_ := set $labels "app.kubernetes.io/version" .root.Chart.AppVersion }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") }}
{{- merge $labels (.labels | default dict) .root.Values.commonLabels | toYaml }}
{{- end }}

{{/* The labels of a pod: without versions, so that a new chart alone restarts nothing. */}}
{{- define "fanfare.podLabels" -}}
{{- $labels := include "fanfare.selector" . | fromYaml }}
{{- merge $labels ((.pod | default dict).labels | default dict) .root.Values.commonLabels | toYaml }}
{{- end }}

{{/* The metadata of an object: root, component, and perhaps name, labels, annotations. */}}
{{- define "fanfare.metadata" -}}
name: {{ .name | default (printf "%s-%s" (include "fanfare.fullname" .root) .component) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "fanfare.labels" . | nindent 2 }}
{{- with merge (deepCopy (.annotations | default dict)) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "fanfare.image" -}}
{{- with .Values.image }}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{- define "fanfare.serviceAccount" -}}
{{- $account := (index .root.Values .component).serviceAccount }}
{{- if $account.create -}}
{{ $account.name | default (printf "%s-%s" (include "fanfare.fullname" .root) .component) }}
{{- else -}}
{{ $account.name | default "default" }}
{{- end }}
{{- end }}

{{- define "fanfare.migrationMode" -}}
{{ .Values.migrations.mode | default (ternary "init" "hook" .Values.dev.enabled) }}
{{- end }}
