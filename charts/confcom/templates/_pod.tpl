{{/* What administrators may set of the pods of each component: the values of the section
"Pods" in values.yaml, which a component may have as well, for its own pods.

The argument "component" of these parts is a dict:
  root      the context of the chart
  name      the name of the component and of its service account
  values    the values of the component
  daemon    true for those that run on the nodes; the values for placing pods are theirs
  allNodes  true for one that runs on nodes without SGX as well, whatever "nodes" says
  affinity  where one that is no daemon runs, unless its values say so */}}

{{/* The labels and annotations of a component's pods. */}}
{{- define "confcom.podMetadata" -}}
{{- $all := .root.Values -}}
labels:
  {{- include "confcom.selector" . | nindent 2 }}
  app.kubernetes.io/part-of: confcom
  {{- range $key, $value := merge (deepCopy (.values.podLabels | default dict)) ($all.podLabels | default dict) }}
  {{- if has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/part-of") }}
  {{- fail (printf "\n\npodLabels has %s, by which the chart finds its own pods. Use another label.\n" $key) }}
  {{- end }}
  {{ $key | quote }}: {{ $value | quote }}
  {{- end }}
{{- with include "confcom.podAnnotations" . }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The annotations of a component's pods, as administrators set them, and those of the
chart's own in "annotations". */}}
{{- define "confcom.podAnnotations" -}}
{{- $annotations := .annotations | default dict -}}
{{- range $key, $value := merge (deepCopy ((.values).podAnnotations | default dict)) (.root.Values.podAnnotations | default dict) }}
{{- if hasKey $annotations $key }}
{{- fail (printf "\n\npodAnnotations has %s, which the chart sets for %s. Use another annotation.\n" $key $.name) }}
{{- end }}
{{- $_ := set $annotations $key $value }}
{{- end }}
{{- with $annotations }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* The part of the spec of a component's pods that does not depend on what it does. */}}
{{- define "confcom.pod" -}}
{{- $all := .root.Values -}}
enableServiceLinks: false
serviceAccountName: {{ include "confcom.serviceAccount" . }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "confcom.podNetwork" . | trim }}
{{ . }}
{{- end }}
{{- $own := .values }}
{{- with ternary $own.priorityClassName (ternary $all.priorityClassName "" (.daemon | default false)) (kindIs "string" $own.priorityClassName) }}
priorityClassName: {{ . }}
{{- end }}
{{- with merge (deepCopy ($own.nodeSelector | default dict)) (ternary $all.nodeSelector dict (.daemon | default false) | default dict) }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .daemon }}
tolerations:
- {key: {{ $all.epc.resource }}, operator: Exists}
{{- with concat ($all.tolerations | default list) ($own.tolerations | default list) }}
{{ toYaml . }}
{{- end }}
{{- $nodes := include "confcom.affinity" .root | fromYaml }}
{{- if .allNodes }}
{{- $terms := include "confcom.allNodes" .root | fromYamlArray }}
{{- $nodes = dict "nodeAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms)) }}
{{- end }}
affinity:
  {{- $affinity := deepCopy ($own.affinity | default $all.affinity | default dict) }}
  {{- if not (dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" "" $affinity) }}{{ $affinity = merge $nodes $affinity }}{{ end }}
  {{- toYaml $affinity | nindent 2 }}
{{- else }}
{{- with $own.tolerations }}
tolerations:
{{ toYaml . }}
{{- end }}
{{- with $own.affinity | default .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* The network of a component's pods. */}}
{{- define "confcom.podNetwork" -}}
{{- $all := .root.Values -}}
{{- if .values.hostNetwork }}
hostNetwork: true
{{- end }}
{{- with .values.dnsPolicy | default $all.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "" (.values.hostNetwork | default false)) }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .values.dnsConfig | default $all.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The SELinux context of a component's pods, for their securityContext. */}}
{{- define "confcom.seLinux" -}}
{{- with .values.seLinuxOptions | default (ternary .root.Values.seLinuxOptions dict (.daemon | default false)) -}}
seLinuxOptions: {{ toJson . }}
{{- end }}
{{- end }}

{{/* The name of a component's service account. */}}
{{- define "confcom.serviceAccount" -}}
{{- $account := .values.serviceAccount | default dict }}
{{- if $account.create }}
{{- if $account.name }}
{{- fail (printf "\n\nThe service account of %s has the name %s, but the chart creates one with the name %s. To use an existing one, set serviceAccount.create=false as well.\n" .name $account.name .name) }}
{{- end }}
{{- .name }}
{{- else }}
{{- if not $account.name }}
{{- fail (printf "\n\nThe chart does not create the service account of %s: name an existing one of the namespace %s in serviceAccount.name.\n" .name .root.Release.Namespace) }}
{{- end }}
{{- $account.name }}
{{- end }}
{{- end }}

{{/* The labels and annotations of the service account that the chart creates for a component. */}}
{{- define "confcom.accountMetadata" -}}
labels:
  {{- include "confcom.labels" . | nindent 2 }}
{{- with .values.serviceAccount.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The port for health and metrics of a component's pods. It is a port of the node if
they have the node's network, so no two components may have the same there. */}}
{{- define "confcom.httpPort" -}}
{{- $port := .values.httpPort | default 8080 | int }}
{{- if .values.hostNetwork }}
{{- $name := .name }}
{{- range $other, $key := dict "sgx-device-plugin" "devicePlugin" "sgx-node-resource" "nodeResource" "sgx-node-labeller" "nodeLabeller" "sgx-quote-helper" "quoteHelper" }}
{{- $values := index $.root.Values $key | default dict }}
{{- if and (ne $other $name) $values.hostNetwork (eq $port ($values.httpPort | default 8080 | int)) }}
{{- fail (printf "\n\n%s and %s have the network of the node (hostNetwork) and the same port %d there. Give each another httpPort.\n" $name $other $port) }}
{{- end }}
{{- end }}
{{- end }}
{{- $port }}
{{- end }}

{{/* The ports for health and metrics of all components, as those of a network policy. */}}
{{- define "confcom.httpPorts" -}}
{{- $ports := list 8080 }}
{{- range list .Values.devicePlugin .Values.nodeResource .Values.nodeLabeller .Values.quoteHelper }}{{ $ports = append $ports (int .httpPort) }}{{ end }}
{{- range uniq $ports }}
- {port: {{ . }}}
{{- end }}
{{- end }}

{{/* The additional environment of a component's containers: for all pods, and its own. */}}
{{- define "confcom.env" -}}
{{- $own := .values.extraEnv | default list }}
{{- $names := list }}
{{- range $own }}{{ $names = append $names .name }}{{ end }}
{{- $env := list }}
{{- range .root.Values.extraEnv }}{{ if not (has .name $names) }}{{ $env = append $env . }}{{ end }}{{ end }}
{{- with concat $env $own }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* The additional volumes of a component's pods. */}}
{{- define "confcom.volumes" -}}
{{- with .values.extraVolumes }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* The mounts of these volumes. */}}
{{- define "confcom.volumeMounts" -}}
{{- with .values.extraVolumeMounts }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* The CA certificates that a component trusts for TLS, as a volume and its mount. Go and
libcurl, Intel's quote provider, read this directory. */}}
{{- define "confcom.caVolume" -}}
{{- if include "confcom.file" (dict "file" .Values.caBundle "value" "caBundle") -}}
- name: ca-certificates
  {{- include "confcom.fileVolume" (dict "file" .Values.caBundle "path" "ca-certificates.crt") | nindent 2 }}
{{- end }}
{{- end }}

{{- define "confcom.caMount" -}}
{{- if include "confcom.file" (dict "file" .Values.caBundle "value" "caBundle") -}}
- {name: ca-certificates, mountPath: /etc/ssl/certs, readOnly: true}
{{- end }}
{{- end }}

{{/* "true" if a value names the config map or secret of a file, otherwise empty. */}}
{{- define "confcom.file" -}}
{{- if and .file.configMap .file.secret }}
{{- fail (printf "\n\n%s names the config map %s and the secret %s. Set one of the two.\n" .value .file.configMap .file.secret) }}
{{- end }}
{{- if or .file.configMap .file.secret }}true{{ end }}
{{- end }}

{{/* The source of a volume with that file, under another name. */}}
{{- define "confcom.fileVolume" -}}
{{- $items := list (dict "key" .file.key "path" .path) }}
{{- if .file.configMap -}}
configMap: {name: {{ .file.configMap }}, items: {{ toJson $items }}}
{{- else -}}
secret: {secretName: {{ .file.secret }}, items: {{ toJson $items }}}
{{- end }}
{{- end }}
