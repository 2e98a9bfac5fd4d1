{{/* The trial's services and their ports. */}}
{{- define "fanfare.devPorts" -}}
postgres: [5432]
rabbitmq: [5672, 15672]
redis: [6379]
{{- end }}

{{/* The roles' first init container: waits until the services answer. The image is on the node for PostgreSQL anyway. */}}
{{- define "fanfare.devWait" -}}
{{- $fullname := include "fanfare.fullname" .root }}
- name: wait
  image: {{ .root.Values.dev.postgres.image | quote }}
  command: [bash, -ec]
  args:
    - |
      # With a user: the image's passwd knows none of this number, and without one nobody is asked.
      until pg_isready -q -U fanfare -h {{ $fullname }}-postgres; do sleep 1; done
      for service in {{ $fullname }}-rabbitmq/5672 {{ $fullname }}-redis/6379; do
        until (exec 3<>"/dev/tcp/$service") 2>/dev/null; do sleep 1; done
      done
  resources:
    {{- toYaml .root.Values.migrations.resources | nindent 4 }}
  securityContext:
    {{- toYaml .pod.containerSecurityContext | nindent 4 }}
{{- end }}

{{/* A Service with one port or more: root, component. */}}
{{- define "fanfare.devService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "fanfare.metadata" . | nindent 2 }}
spec:
  clusterIP: None
  selector:
    {{- include "fanfare.selector" . | nindent 4 }}
  ports:
    {{- range index (include "fanfare.devPorts" .root | fromYaml) .component }}
    - {name: tcp-{{ . }}, port: {{ . }}, targetPort: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}

{{/*
What the pods of the three have in common: root, component, user. Rights in a volume stay as they are: RabbitMQ
refuses a cookie and PostgreSQL a folder that their group may write.
*/}}
{{- define "fanfare.devPod" -}}
{{- $security := dict
    "runAsNonRoot" true "runAsUser" .user "runAsGroup" .user "fsGroup" .user
    "fsGroupChangePolicy" "OnRootMismatch"
    "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- $pod := set (omit .root.Values.pod "extraVolumes") "securityContext" $security }}
metadata:
  labels:
    {{- include "fanfare.podLabels" . | nindent 4 }}
spec:
  {{- include "fanfare.podCommon" (dict "root" .root "pod" $pod) | nindent 2 }}
{{- end }}

{{/* The password as a variable: root, name. */}}
{{- define "fanfare.devPassword" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {name: {{ include "fanfare.fullname" .root }}-dev, key: password}
{{- end }}

{{/* The data of a StatefulSet: root. */}}
{{- define "fanfare.devClaim" -}}
{{- with .root.Values.dev.persistence }}
{{- if .enabled }}
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources: {requests: {storage: {{ .size }}}}
{{- end }}
{{- end }}
{{- end }}
