{{/* The labels of an object, or of a pod, which has a component. (dict "top" $ "component" "scheduler") */}}
{{- define "zeta.selector" -}}
app.kubernetes.io/instance: {{ .top.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "zeta.labels" -}}
{{ include "zeta.selector" . }}
app.kubernetes.io/part-of: zeta
app.kubernetes.io/managed-by: {{ .top.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .top.Chart.Name .top.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What every pod has. Service links are off for more than tidiness: a Service zeta-mlflow would set ZETA_MLFLOW_PORT. */}}
{{- define "zeta.pod" -}}
enableServiceLinks: false
{{- with .top.Values.pullSecret }}
imagePullSecrets: [{name: {{ . | quote }}}]
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid | default 65532 }}
  runAsGroup: {{ .uid | default 65532 }}
  fsGroup: {{ .uid | default 65532 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What every container has. */}}
{{- define "zeta.container" -}}
imagePullPolicy: IfNotPresent
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* A variable from a Secret. (list "VARIABLE" "secret" "key") */}}
{{- define "zeta.secret" -}}
- {name: {{ index . 0 }}, valueFrom: {secretKeyRef: {name: {{ index . 1 | quote }}, key: {{ index . 2 }}}}}
{{- end }}

{{/* A claim. (dict "top" $ "component" "logs" "claim" {size, mode}) */}}
{{- define "zeta.claim" -}}
accessModes: [{{ .claim.mode }}]
{{- with .top.Values.storage.class }}
storageClassName: {{ . | quote }}
{{- end }}
resources: {requests: {storage: {{ .claim.size }}}}
{{- end }}

{{/* The settings of whatever is Airflow, the tasks included. images/airflow/airflow.cfg has the reasons of most. */}}
{{- define "zeta.settings" -}}
HOME: /tmp
AIRFLOW_HOME: /tmp/airflow
AIRFLOW__CORE__DAGS_FOLDER: /app/dags
AIRFLOW__CORE__EXECUTION_API_SERVER_URL: http://{{ .Release.Name }}-api-server:8080/execution/
AIRFLOW__CORE__HOSTNAME_CALLABLE: socket.gethostname
AIRFLOW__CORE__LOAD_EXAMPLES: "False"
AIRFLOW__API__BASE_URL: {{ .Values.airflow.url }}
AIRFLOW__LOGGING__BASE_LOG_FOLDER: /tmp/logs
AIRFLOW__LOGGING__LOGGING_LEVEL: WARNING
AIRFLOW__LOGGING__NAMESPACE_LEVELS: airflow.task=INFO airflow.jobs=INFO
AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL: "1"
AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS: "60"
ZETA_HOME: /tmp/zeta
ZETA_MODELS: /app/models
{{- with .Values.digest.to }}
ZETA_DIGEST: {{ . | quote }}
ZETA_DIGEST_SCHEDULE: {{ $.Values.digest.schedule | quote }}
{{- end }}
{{- end }}

{{/* What only Airflow's own services need. */}}
{{- define "zeta.serviceSettings" -}}
AIRFLOW__API__WORKERS: "1"
AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION: "False"
AIRFLOW__CORE__EXECUTOR: KubernetesExecutor
AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL: "0"
AIRFLOW__CORE__PARALLELISM: {{ .Values.airflow.parallelism | quote }}
AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE: /tmp/passwords.json
AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS: admin:admin
AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL: "10"
AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE: {{ .Release.Namespace | quote }}
AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE: /etc/zeta/task.yaml
AIRFLOW__KUBERNETES_EXECUTOR__WORKER_PODS_CREATION_BATCH_SIZE: {{ .Values.airflow.parallelism | quote }}
AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK: "True"
AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL: "30"
AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME: "0.25"
AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT: "60"
{{- end }}

{{/* A map as variables. */}}
{{- define "zeta.env" -}}
{{- range $name, $value := . }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* A container of Airflow's services, up to its command. */}}
{{- define "zeta.airflow" -}}
{{- $secret := .Values.secrets.airflow -}}
image: {{ .Values.images.airflow }}
{{ include "zeta.container" . }}
env:
  {{- $settings := merge (dict) .Values.airflow.settings (include "zeta.serviceSettings" . | fromYaml) (include "zeta.settings" . | fromYaml) }}
  {{- include "zeta.env" $settings | nindent 2 }}
  {{- include "zeta.secret" (list "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" .Values.secrets.database "airflow") | nindent 2 }}
  {{- include "zeta.secret" (list "AIRFLOW__CORE__FERNET_KEY" $secret "fernet-key") | nindent 2 }}
  {{- include "zeta.secret" (list "AIRFLOW__API__SECRET_KEY" $secret "api-secret-key") | nindent 2 }}
  {{- include "zeta.secret" (list "AIRFLOW__API_AUTH__JWT_SECRET" $secret "jwt-secret") | nindent 2 }}
{{- end }}
