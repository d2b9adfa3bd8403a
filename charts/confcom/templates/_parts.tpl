{{/* What both DaemonSets share. */}}

{{- define "confcom.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: confcom
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "confcom.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "confcom.image" -}}
image: {{ printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) }}
imagePullPolicy: {{ .image.pullPolicy }}
{{- end }}

{{/* How the pods are placed and what they may do: next to nothing. */}}
{{- define "confcom.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
priorityClassName: system-node-critical
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  {{- .Values.affinity | default (include "confcom.affinity" . | fromYaml) | toYaml | nindent 2 }}
securityContext:
  # The kubelet's and the helper's directories belong to root.
  runAsUser: 0
  runAsGroup: 0
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "confcom.affinity" -}}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
    {{- if eq .Values.platform "simulated" }}
    - matchExpressions:
      - {key: kubernetes.io/os, operator: In, values: [linux]}
      - {key: kubernetes.io/arch, operator: In, values: [amd64]}
    {{- else }}
    - matchExpressions:
      - {key: feature.node.kubernetes.io/cpu-security.sgx.enabled, operator: In, values: ["true"]}
    - matchExpressions:
      - {key: intel.feature.node.kubernetes.io/sgx, operator: In, values: ["true"]}
    - matchExpressions:
      - {key: sgx.intel.com/capable, operator: In, values: ["true"]}
    - matchExpressions:
      - key: node.kubernetes.io/instance-type
        operator: In
        values:
        {{- range list "1s_v2" "2s_v2" "4s_v2" "8_v2" }}
        - Standard_DC{{ . }}
        {{- end }}
        {{- range list 1 2 4 8 16 24 32 48 }}
        - Standard_DC{{ . }}s_v3
        - Standard_DC{{ . }}ds_v3
        {{- end }}
    {{- end }}
{{- end }}

{{- define "confcom.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: ["ALL"]}
ports:
- {name: health, containerPort: 8080}
livenessProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 20
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
startupProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 1
  failureThreshold: 30
{{- end }}
