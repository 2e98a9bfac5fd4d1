{{/* A container of the image: root, name, args, resources, and either `hook` or the role's `pod`. */}}
{{- define "fanfare.container" -}}
name: {{ .name }}
image: {{ include "fanfare.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .args }}
env:
  {{- if .hook }}
  {{- range $name, $value := include "fanfare.settings" .root | fromYaml }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- end }}
  {{- include "fanfare.secretEnv" . | trim | nindent 2 }}
  {{- with .pod.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or (not .hook) .pod.extraEnvFrom }}
envFrom:
  {{- if not .hook }}
  - configMapRef:
      name: {{ include "fanfare.fullname" .root }}
  {{- end }}
  {{- with .pod.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .pod.containerSecurityContext | nindent 2 }}
{{- with .pod.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Migration, then topology: both do nothing where nothing is to be done, and may run side by side. */}}
{{- define "fanfare.migration" -}}
{{- $resources := .root.Values.migrations.resources }}
- {{ include "fanfare.container" (merge (dict "name" "migrate" "args" (list "migrate") "resources" $resources) .) | nindent 2 | trim }}
- {{ include "fanfare.container" (merge (dict "name" "topology" "args" (list "topology" "apply") "resources" $resources) .) | nindent 2 | trim }}
{{- end }}

{{/* What pods of every kind have in common: root, component, pod. */}}
{{- define "fanfare.podCommon" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .pod.securityContext | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where a role's pods go: on different nodes, evenly over zones. */}}
{{- define "fanfare.placement" -}}
{{- $selector := include "fanfare.selector" . | fromYaml }}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $selector) }}
{{- with .pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- else }}
{{- if eq .pod.antiAffinity "hard" }}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      {{- list $term | toYaml | nindent 6 }}
{{- else if eq .pod.antiAffinity "soft" }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- list (dict "weight" 100 "podAffinityTerm" $term) | toYaml | nindent 6 }}
{{- end }}
{{- end }}
topologySpreadConstraints:
  {{- with .pod.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  - topologyKey: topology.kubernetes.io/zone
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- toYaml $selector | nindent 8 }}
  {{- end }}
{{- end }}
