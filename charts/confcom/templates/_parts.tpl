{{/* Parts that the manifests share. */}}

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

{{/* The image of a container. global.imageRegistry replaces the host of its repository: the
first element, if that has a dot or a port or is localhost, as everywhere. */}}
{{- define "confcom.image" -}}
{{- $name := .image.repository }}
{{- with (.root.Values.global | default dict).imageRegistry }}
{{- $name = printf "%s/%s" . (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $name "") }}
{{- end }}
{{- if and .image.digest .image.tag }}
{{- fail (printf "\n\nThe image %s has the tag %s and the digest %s, which may be different images. The chart of a release has a digest for each image: to use another image, remove the digest, for example with --set devicePlugin.image.digest=\n" $name .image.tag .image.digest) }}
{{- end }}
image: {{ if .image.digest }}{{ $name }}@{{ .image.digest }}{{ else }}{{ $name }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
imagePullPolicy: {{ .image.pullPolicy }}
{{- end }}

{{/* Fails if another plugin for the same resources is installed: another release of this
chart, by the labels of its device plugin, the add-on of AKS, or Intel's plugin, by their
names. A chart that is rendered without a cluster sees none. */}}
{{- define "confcom.onlyPlugin" -}}
{{- $shared := list }}
{{- if or (include "confcom.nodeMode" .) .Values.enclave.enabled }}{{ $shared = append $shared .Values.enclave.resource }}{{ end }}
{{- if .Values.provision.enabled }}{{ $shared = append $shared .Values.provision.resource }}{{ end }}
{{- range (lookup "apps/v1" "DaemonSet" "" "").items }}
{{- $labels := .metadata.labels | default dict }}
{{- $release := index $labels "app.kubernetes.io/instance" | default "" }}
{{- $namespace := .metadata.namespace }}
{{- $name := printf "%s/%s" $namespace .metadata.name }}
{{- if and (eq .metadata.name "sgx-device-plugin") (eq (index $labels "app.kubernetes.io/part-of" | default "") "confcom")
    (ne (printf "%s/%s" $namespace $release) (printf "%s/%s" $.Release.Namespace $.Release.Name)) }}
{{- fail (printf "\n\nconfcom is already installed in this cluster: release %s in the namespace %s. Two releases would advertise the same resources and serve on the same sockets.\n  helm upgrade %s CHART -n %s     changes that release\n  helm uninstall %s -n %s   removes it\n" $release $namespace $release $namespace $release $namespace) }}
{{- end }}
{{- if and (eq $name "kube-system/sgx-plugin") (hasPrefix "kubernetes.azure.com/" $.Values.epc.resource) }}
{{- fail (printf "\n\nThe DaemonSet %s is that of the add-on confcom of AKS, which advertises %s as well.\n  az aks disable-addons --addons confcom -g GROUP -n CLUSTER   removes it\n" $name $.Values.epc.resource) }}
{{- end }}
{{- if eq .metadata.name "intel-sgx-plugin" }}
{{- range $shared }}
{{- if hasPrefix "sgx.intel.com/" . }}
{{- fail (printf "\n\nThe DaemonSet %s is Intel's plugin, which advertises %s as well. Remove it, or give confcom's resources other names:\n  --set enclave.resource=confcom.github.io/enclave\n  --set provision.resource=confcom.github.io/provision\n" $name .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* "true" if nodes can advertise EPC in their status, otherwise empty. That needs a
MutatingAdmissionPolicy, which Kubernetes has since 1.36. Nodes can, whatever
epc.advertise asks for, so that they can change from one mode to the other. */}}
{{- define "confcom.nodeMode" -}}
{{- $version := .Capabilities.KubeVersion.Version }}
{{- $possible := semverCompare ">=1.36.0-0" $version }}
{{- if and (eq .Values.epc.advertise "node") (not $possible) }}
{{- fail (printf "\n\nepc.advertise=node needs Kubernetes 1.36 or newer: an admission policy adds the device to pods with EPC. This cluster runs %s.\n  --set epc.advertise=devices   advertises up to 256 GiB of each node here\n" $version) }}
{{- end }}
{{- if and (eq .Values.epc.writer "none") (ne .Values.epc.advertise "devices") }}
{{- fail "\n\nepc.writer=none leaves nothing to write EPC into the status of nodes, which epc.advertise may need: set epc.advertise=devices as well, or another writer.\n" }}
{{- end }}
{{- if and $possible (ne .Values.epc.writer "none") }}true{{ end }}
{{- end }}

{{/* The names of EPC of other plugins, each with its unit, as YAML: by plugin. */}}
{{- define "confcom.epcNames" -}}
intel: {"sgx.intel.com/epc": "bytes"}
alibaba: {"alibabacloud.com/sgx_epc_MiB": "MiB"}
aks: {"kubernetes.azure.com/sgx_epc_mem_in_MiB": "MiB", "sgx.intel.com/sgx_epc_mem_in_MiB": "MiB", "openenclave.io/sgx_epc_MiB": "MiB"}
{{- end }}

{{/* Those that are understood (compat.plugins), as YAML. */}}
{{- define "confcom.otherEPC" -}}
{{- $names := include "confcom.epcNames" . | fromYaml }}
{{- $others := dict }}
{{- range .Values.compat.plugins | default list }}{{ $others = merge $others (get $names .) }}{{ end }}
{{- omit $others .Values.epc.resource | toYaml }}
{{- end }}

{{/* CEL: whether container c has more than 0 of the resource. */}}
{{- define "confcom.celHas" -}}
quantity(c.?resources.?limits[?'{{ . }}'].orValue('0')).isGreaterThan(quantity('0'))
{{- end }}

{{/* CEL: whether container c has EPC, but not the device. A limit of 0 is none. */}}
{{- define "confcom.celWithoutDevice" -}}
{{ include "confcom.celHas" .Values.epc.resource }} && !{{ include "confcom.celHas" .Values.enclave.resource }}
{{- end }}

{{/* CEL: the patches that give the device to the containers with EPC that lack it. A request is
there only if a limit is, and must be equal. */}}
{{- define "confcom.celAddDevice" -}}
{{- range $i, $list := list "containers" "initContainers" }}
{{- if $i }} + {{ end -}}
(has(object.spec.{{ $list }}) && object.spec.{{ $list }} != null ? object.spec.{{ $list }} : []).transformList(i, c,
  {{ include "confcom.celWithoutDevice" $ }},
  ['limits', 'requests'].filter(l, l == 'limits' || c.resources[?l][?'{{ $.Values.enclave.resource }}'].hasValue()).map(l, JSONPatch{
    op: 'add',
    path: '/spec/{{ $list }}/' + string(i) + '/resources/' + l + '/' + jsonpatch.escapeKey('{{ $.Values.enclave.resource }}'),
    value: '1'
  })
).flatten()
{{- end }}
{{- end }}

{{/* The flags that decide how EPC is advertised. */}}
{{- define "confcom.epcFlags" -}}
- --advertise={{ .Values.epc.advertise }}
# A kubelet is never newer than the API server.
- --kubelet-version={{ .Capabilities.KubeVersion.Version }}
- --max-devices={{ .Values.epc.maxDevices }}
{{- with include "confcom.reservedMiB" . | int64 }}
- --reserve-epc={{ . }}Mi
{{- end }}
- --epc-resource={{ .Values.epc.resource }}
{{- if include "confcom.simulatedEPC" . }}
- --simulate-epc={{ .Values.simulatedEPC }}
{{- end }}
{{- end }}

{{/* "true" if the EPC of nodes is simulated, otherwise empty. */}}
{{- define "confcom.simulatedEPC" -}}
{{- if or (eq .Values.platform "simulated") (and (eq .Values.platform "dcap") .Values.dcap.simulatedHardware) }}true{{ end }}
{{- end }}

{{/* "true" if the quote helper makes quotes itself, with enclaves, otherwise empty. It gets
the devices through the resource confcom.github.io/quote-helper. */}}
{{- define "confcom.helperEnclaves" -}}
{{- if and (eq .Values.platform "dcap") .Values.quoteHelper.enabled }}true{{ end }}
{{- end }}

{{/* EPC in MiB that nodes do not advertise: epc.reserve, and that of the quote helper's
enclaves. Each worker has its own, and one more worker exists while one is replaced. */}}
{{- define "confcom.reservedMiB" -}}
{{- $reserve := .Values.epc.reserve | default "0Mi" }}
{{- $mib := mul (regexFind "[0-9]+" $reserve | int64) (ternary 1024 1 (hasSuffix "Gi" $reserve)) }}
{{- if include "confcom.helperEnclaves" . }}
{{- $mib = add $mib (mul (add1 .Values.dcap.workers) .Values.dcap.epcMiBPerWorker) }}
{{- end }}
{{- $mib }}
{{- end }}

{{/* The configuration of Intel's quote provider, or empty if the image's own applies. */}}
{{- define "confcom.qcnl" -}}
{{- $p := .Values.dcap.provider }}
{{- if or $p.pccsURL $p.azureTHIM }}
{{- $config := dict "pccs_url" $p.pccsURL "use_secure_cert" $p.verifyTLS "retry_times" 2 "retry_delay" 1
    "pck_cache_expire_hours" $p.cacheHours "verify_collateral_cache_expire_hours" $p.cacheHours "pccs_api_version" "3.1" }}
{{- if $p.azureTHIM }}
{{- $_ := set $config "pccs_url" ($p.pccsURL | default "https://global.acccache.azure.net/sgx/certification/v4/") }}
{{- $_ := set $config "local_pck_url" "http://169.254.169.254/metadata/THIM/sgx/certification/v4/" }}
{{- $_ := set $config "custom_request_options" (dict "get_cert" (dict "headers" (dict "metadata" "true") "params" (dict "api-version" "2021-07-22-preview"))) }}
{{- end }}
{{- $config | toPrettyJson }}
{{- end }}
{{- end }}

{{/* The user of the pods that need directories of the node: those of the device plugin and
the quote helper. */}}
{{- define "confcom.nodeUser" -}}
automountServiceAccountToken: false
securityContext:
  runAsUser: {{ .root.Values.runAsUser | int }}
  runAsGroup: {{ .root.Values.runAsUser | int }}
  seccompProfile: {type: RuntimeDefault}
  {{- with include "confcom.seLinux" . }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* The nodes that the value "nodes" selects. */}}
{{- define "confcom.affinity" -}}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
    {{- if eq .Values.nodes "label" }}
    - matchExpressions:
      - {key: confcom.github.io/sgx, operator: In, values: ["true"]}
    {{- else if or (eq .Values.nodes "all") (include "confcom.simulatedEPC" .) }}
    {{- include "confcom.allNodes" . | nindent 4 }}
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

{{/* All nodes that the daemons can run on, as a term of a node selector. */}}
{{- define "confcom.allNodes" -}}
- matchExpressions:
  - {key: kubernetes.io/os, operator: In, values: [linux]}
  - {key: kubernetes.io/arch, operator: In, values: [amd64]}
{{- end }}

{{/* The part of a container's spec that all programs share. "capabilities" are those that it
has, usually none. */}}
{{- define "confcom.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: ["ALL"]{{ with .capabilities }}, add: {{ toJson . }}{{ end }}}
# If it cannot start, the status of the pod has the last lines of its log.
terminationMessagePolicy: FallbackToLogsOnError
ports:
- {name: http, containerPort: {{ include "confcom.httpPort" . }}} # health and metrics
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 20
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 1
  failureThreshold: 30
{{- end }}
