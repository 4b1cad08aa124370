{{/* The labels of every object. The chart's version is not among a pod's: a new chart alone restarts nothing. */}}
{{- define "model.labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: zeta
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
zeta.dev/model: {{ .Release.Name | quote }}
{{- end }}

{{/* What selects the serving pods of all tracks. Not the model's name alone: the tests' pods have it too. */}}
{{- define "model.serving" -}}
app.kubernetes.io/component: server
zeta.dev/model: {{ .Release.Name | quote }}
{{- end }}

{{/* What every pod has, whatever it runs. */}}
{{- define "model.pod" -}}
serviceAccountName: {{ .Release.Name | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.pullSecret }}
imagePullSecrets: [{name: {{ . | quote }}}]
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 256Mi}
{{- end }}

{{/* What every container has. */}}
{{- define "model.container" -}}
imagePullPolicy: IfNotPresent
workingDir: /app
env: [{name: HOME, value: /tmp}]
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts: [{name: tmp, mountPath: /tmp}]
{{- end }}
