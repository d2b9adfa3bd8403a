package e2e

import (
	"slices"
	"strings"
	"testing"
)

// render renders the chart for a version of Kubernetes, without what 'helm test' adds: the API
// server refuses pods whose service account exists only meanwhile.
func render(t *testing.T, version string, values ...string) (string, error) {
	t.Helper()
	args := []string{"-n", namespace, "template", "confcom", "charts/confcom", "--kube-version", version, "--skip-tests"}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	return try(t, "", "helm", args...)
}

// TestChart renders the chart with several values and checks that the API server
// accepts the manifests.
func TestChart(t *testing.T) {
	const (
		plain      = "quoteHelper.enabled=false"
		simulated  = "platform=simulated"
		nodeWriter = "kind: DaemonSet\nmetadata:\n  name: sgx-node-resource"
		mutating   = "kind: MutatingAdmissionPolicy\nmetadata:\n  name: sgx-enclave-with-epc\n"
		validating = "kind: ValidatingAdmissionPolicy\nmetadata:\n  name: sgx-node-resource\n"
		others     = "kind: MutatingAdmissionPolicy\nmetadata:\n  name: sgx-workloads-of-others\n"
		warnings   = "kind: ValidatingAdmissionPolicy\nmetadata:\n  name: sgx-warnings\n"
		rule       = "kind: NodeFeatureRule\n"
		surge      = "{maxSurge: 1, maxUnavailable: 0}"
		helper     = "name: sgx-quote-helper"
		digest     = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	)
	tests := []struct {
		name    string
		version string
		values  []string
		want    []string
		not     []string
	}{
		{"default", "1.37.2", []string{plain},
			[]string{nodeWriter, mutating, validating, surge, "--advertise=auto", "--resources=epc,enclave\n", "--kubelet-version=v1.37.2",
				"--epc-resource=" + resource, "--enclave-resource=" + enclave, "--slots=256", "helm.sh/hook: pre-delete", "--remove=" + resource + "\n", "preferredDuringSchedulingIgnoredDuringExecution", "feature.node.kubernetes.io/cpu-security.sgx.enabled"},
			[]string{rule, helper, "--aesm-socket", "monitoring.coreos.com", "grafana", "--simulate", "--reserve-epc", "--cdi", "--legacy", "--nfd", "CharDevice"}},
		{"images", "1.37", []string{simulated}, []string{"image: localhost/confcom/sgx-device-plugin:0.1.0\n"}, []string{"@sha256"}},
		{"images of another registry, by tag and by digest", "1.37", []string{simulated, "global.imageRegistry=registry.example:5000/mirror", "devicePlugin.image.digest=" + digest, "nodeResource.image.repository=example.org/a/b", "quoteHelper.image.repository=a/b"},
			[]string{"image: registry.example:5000/mirror/confcom/sgx-device-plugin@" + digest + "\n", "image: registry.example:5000/mirror/a/b:0.1.0\n"}, []string{"localhost/", "example.org", "/sgx-device-plugin:"}},
		{"simulated", "1.37", []string{simulated, "simulatedEPC=512Gi", "simulatedDevice=/dev/null"},
			[]string{helper, "--platform=simulated", "--aesm-socket=/var/run/aesmd/aesm.socket\n", "--simulate-epc=512Gi", "--simulate-device=/dev/null"},
			[]string{"feature.node.kubernetes.io", "upstream", "--reserve-epc", "quote-helper: 1", "--idle-without-sgx"}},
		{"quote helper", "1.36", []string{simulated},
			[]string{surge, "hostPID: true", "--slots=0\n", "--takeover\n", "--stand-by\n", "terminationGracePeriodSeconds: 30"}, []string{resource + ": ", "confcom.github.io/quote-helper"}},
		{"another quote helper", "1.36", []string{simulated, "quoteHelper.maxSurge=0", "quoteHelper.hostPID=false", "quoteHelper.slots=4"},
			[]string{"--slots=4\n", "--takeover\n", "--stand-by\n"}, []string{surge, "hostPID", "--refuse-unidentified"}},
		{"a quote helper for identified callers", "1.36", []string{simulated, "quoteHelper.refuseUnidentified=true"}, []string{"--refuse-unidentified\n"}, nil},
		{"DCAP", "1.37", []string{"platform=dcap"},
			[]string{"sgx-quote-helper-dcap:", "--platform=dcap", "--workers=2\n", "--worker-timeout=2s\n", "--resources=epc,enclave,quote-helper\n", "--reserve-epc=12Mi\n", "confcom.github.io/quote-helper: 1\n", "--idle-without-sgx\n",
				"feature.node.kubernetes.io/cpu-security.sgx.enabled", "{name: tmp, mountPath: /tmp}"},
			[]string{"--simulate", "kind: ConfigMap", "--qcnl-config", "supplementalGroups: [", resource + ": ", enclave + ": 1", "sgx.intel.com/provision: 1"}},
		{"DCAP on Azure", "1.37", []string{"platform=dcap", "dcap.provider.azureTHIM=true", "dcap.workers=4", "runAsUser=1000", "dcap.groups={108,109}"},
			[]string{"--qcnl-config=/etc/confcom/sgx_default_qcnl.conf\n", "kind: ConfigMap", `"metadata": "true"`, `"pccs_url": "https://global.acccache.azure.net/sgx/certification/v4/"`,
				"--reserve-epc=20Mi\n", "supplementalGroups: [108,109]", "runAsUser: 1000"}, nil},
		{"DCAP with a PCCS", "1.37", []string{"platform=dcap", "dcap.provider.pccsURL=https://pccs.example/sgx/certification/v4/", "dcap.provider.verifyTLS=false", "dcap.provider.cacheHours=24"},
			[]string{`"use_secure_cert": false`, `"pck_cache_expire_hours": 24`}, []string{"local_pck_url"}},
		{"verifier", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.minIsvSvn=2", "verifier.policy.mrSigners={" + strings.Repeat("aa", 32) + "}", "verifier.tlsSecret=confcom-tls"},
			[]string{"name: confcom-verifier", `"minIsvSvn": 2`, "--collateral=https://api.trustedservices.intel.com/sgx/certification/v4/\n", "--tls-cert=/tls/tls.crt", "secretName: confcom-tls", "port: 443"},
			[]string{"--root", "root.pem"}},
		{"upstream", "1.37", []string{"platform=upstream", "aesmDir=/var/run/confcom-aesmd"},
			[]string{helper, "--platform=upstream", "--upstream-socket=/var/run/upstream-aesmd/aesm.socket", "{name: upstream-aesmd, mountPath: /var/run/upstream-aesmd, readOnly: true}",
				"{path: /var/run/aesmd,", "{path: /var/run/confcom-aesmd,", "--aesm-dir=/var/run/confcom-aesmd\n", "feature.node.kubernetes.io/cpu-security.sgx.enabled"},
			[]string{resource + ": ", "--simulate", "--reserve-epc", "confcom.github.io/quote-helper"}},
		{"EPC for the helper and more", "1.37", []string{"platform=dcap", "epc.reserve=2Gi", "dcap.workers=4"}, []string{"--reserve-epc=2068Mi\n"}, nil},
		{"stand-in hardware", "1.37", []string{"platform=dcap", "dcap.simulatedHardware=true", "dcap.epcMiBPerWorker=0"},
			[]string{"confcom.github.io/quote-helper: 1\n"}, []string{"--reserve-epc", "--idle-without-sgx"}},
		{"DCAP without a helper", "1.37", []string{"platform=dcap", "quoteHelper.enabled=false"}, nil, []string{"--reserve-epc", "quote-helper"}},
		{"upstream elsewhere", "1.37", []string{"platform=upstream", "upstream.dir=/opt/aesmd"},
			[]string{"{path: /opt/aesmd,", "{path: /var/run/aesmd,", "--aesm-dir=/var/run/aesmd\n"}, nil},
		{"before 1.37", "1.36", []string{plain},
			[]string{nodeWriter, mutating, "{maxSurge: 0, maxUnavailable: 1}", "--advertise=auto"},
			[]string{surge}},
		{"vendor version of 1.36", "1.36.0-gke.100", []string{plain},
			[]string{nodeWriter, mutating, "--advertise=auto", "--kubelet-version=v1.36.0-gke.100"}, nil},
		{"before 1.36", "1.35.4", []string{simulated, "quoteHelper.maxSurge=0"},
			[]string{"--advertise=auto", "--resources=epc\n", "--kubelet-version=v1.35.4"},
			[]string{nodeWriter, mutating, validating, rule, "kind: ClusterRole", "name: sgx-node-resource", enclave + ": 1", surge, "--state-dir"}},
		{"devices", "1.37", []string{plain, "epc.advertise=devices", "epc.maxDevices=1024", "epc.reserve=16Mi"},
			[]string{"--advertise=devices", "--resources=epc,enclave\n", "--max-devices=1024", "--reserve-epc=16Mi", "--state-dir=/var/run/confcom\n", nodeWriter, mutating, validating}, nil},
		{"devices for ever", "1.37", []string{plain, "epc.advertise=devices", "epc.writer=none"},
			[]string{"--advertise=devices", "--resources=epc\n"},
			[]string{"--state-dir", nodeWriter, mutating, validating, "name: sgx-node-resource", "helm.sh/hook"}},
		{"node", "1.37", []string{plain, "epc.advertise=node"},
			[]string{nodeWriter, mutating, validating, "--advertise=node"}, nil},
		{"by Node Feature Discovery", "1.37", []string{plain, "epc.writer=nfd"},
			[]string{rule, resource + `: "@local.feature.sgx.epc-mib"`, "--nfd-features-dir=", mutating},
			[]string{nodeWriter, validating, "kind: ClusterRole", "name: sgx-node-resource", "helm.sh/hook"}},
		{"unused Node Feature Discovery", "1.35.0", []string{plain, "epc.writer=nfd"},
			nil, []string{rule, "--nfd-features-dir="}},
		{"all resources", "1.37", []string{plain, "epc.advertise=devices", "enclave.enabled=true", "provision.enabled=true", "slots=10"},
			[]string{"--resources=epc,enclave,provision\n", "--slots=10"}, nil},
		{"other resource names", "1.37", []string{simulated, "epc.resource=example.com/epc", "enclave.resource=example.com/enclave", "provision.enabled=true", "provision.resource=example.com/provision", "compat.plugins=null", "compat.warnings=false"},
			[]string{"key: example.com/epc, operator: Exists", "c.?resources.?limits[?'example.com/epc']", "jsonpatch.escapeKey('example.com/enclave')", "k != 'example.com/epc'",
				"--epc-resource=example.com/epc", "--enclave-resource=example.com/enclave", "--provision-resource=example.com/provision"},
			[]string{resource, enclave, "sgx.intel.com/provision"}},
		{"workloads of others", "1.37", []string{simulated},
			[]string{others, warnings, `"sgx.intel.com/epc":1048576`, `"alibabacloud.com/sgx_epc_MiB":1`, "'SGX_AESM_ADDR'", "escapeKey('sgx.intel.com/enclave'),"},
			[]string{"escapeKey('sgx.intel.com/provision')", "which no node of this cluster has: use "}},
		{"workloads of others without the enclave resource", "1.37", []string{simulated, "epc.advertise=devices", "epc.writer=none"},
			[]string{others, warnings}, []string{"escapeKey('sgx.intel.com/enclave'),"}},
		{"workloads of others before 1.36", "1.35.4", []string{simulated},
			[]string{warnings, "requests sgx.intel.com/epc, which no node of this cluster has: use " + resource + ", in MiB", "(sgx.intel.com/epc is in bytes)"}, []string{others}},
		{"workloads of one other plugin", "1.37", []string{simulated, "compat.plugins={alibaba}"},
			[]string{others, `"alibabacloud.com/sgx_epc_MiB":1`}, []string{`"sgx.intel.com/epc":`}},
		{"workloads of others with another resource", "1.37", []string{simulated, "epc.resource=example.com/epc"},
			[]string{`"` + resource + `":1`, "escapeKey('example.com/epc')"}, nil},
		{"no workloads of others", "1.37", []string{plain, "aesmDir=", "compat.plugins=null", "compat.warnings=false"}, nil, []string{others, warnings}},
		{"manifests of AKS", "1.37", []string{simulated, "provision.enabled=true", "provision.namespaces={a,b}", "compat.aks.namespaces={a}"},
			[]string{others, `request.namespace in ["a"] ||`, "escapeKey('sgx.intel.com/provision'),"}, nil},
		{"no AESM directory", "1.37", []string{plain, "aesmDir="}, []string{"--aesm-dir=\n"}, nil},
		{"older images, newer runtimes", "1.37", []string{plain, "devicePlugin.legacyDevicePaths=true", "devicePlugin.cdi=true"},
			[]string{"--legacy-device-paths", "--cdi\n", "{path: /var/run/cdi, type: DirectoryOrCreate}"}, nil},
		{"a verifier that signs results", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.anyEnclave=true", "verifier.earSecret=ear", "verifier.challengeSecret=nonces"},
			[]string{"--ear-key=/ear/ear.pem", "secret: {secretName: ear}", "--challenge-key=/challenge/challenge.key", "secret: {secretName: nonces}", "GOMEMLIMIT"}, nil},
		{"who connects", "1.30", []string{simulated, "verifier.enabled=true", "verifier.policy.anyEnclave=true"},
			[]string{"kind: NetworkPolicy\nmetadata:\n  name: confcom\n", "kind: NetworkPolicy\nmetadata:\n  name: confcom-verifier\n", "kubernetes.io/metadata.name: monitoring", "- {port: 8087}"}, nil},
		{"nobody connects", "1.30", []string{simulated, "networkPolicy.from=null"},
			[]string{"kind: NetworkPolicy\n"}, []string{"ingress:", "from:", "name: confcom-verifier"}},
		{"everybody connects", "1.30", []string{simulated, "networkPolicy.enabled=false"}, nil, []string{"kind: NetworkPolicy\n"}},
		{"containers wait for quotes", "1.37", []string{simulated, "aesmDir=/run/aesmd"},
			[]string{"--wait-for-quotes=20s\n", "{name: aesmd, mountPath: /run/aesmd, readOnly: true}"}, nil},
		{"containers do not wait", "1.37", []string{simulated, "devicePlugin.waitForQuotes=0s"}, nil, []string{"--wait-for-quotes"}},
		{"no quotes to wait for", "1.37", []string{plain}, nil, []string{"--wait-for-quotes", "name: aesmd"}},
		{"device only with EPC", "1.30", []string{plain, "enclave.requireEPC=true"},
			[]string{"name: sgx-devices", "quantity('1')"}, []string{"request.namespace"}},
		{"provision device", "1.30", []string{plain, "provision.enabled=true", "provision.namespaces={a,b}"},
			[]string{"name: sgx-devices", `request.namespace in ["confcom-system","a","b"]`}, []string{"quantity('1')"}},
		{"provision device for no other namespaces", "1.30", []string{plain, "provision.enabled=true", "provision.namespaces=null"},
			[]string{`request.namespace in ["confcom-system"]`}, nil},
		{"a cluster with public IPv6 addresses", "1.37", []string{simulated, "verifier.enabled=true", "verifier.policy.anyEnclave=true", `clusterNetworks={2001:db8:1::/56,2001:db8:2::/64}`},
			[]string{"--cluster-networks=2001:db8:1::/56,2001:db8:2::/64\n"}, nil},
		{"devices of the quote helper", "1.30", []string{"platform=dcap"}, []string{"name: sgx-devices", "request.namespace == 'confcom-system'"}, []string{"request.namespace in "}},
		{"other kubelet directories", "1.37", []string{plain, "kubeletDir=/var/lib/k0s/kubelet", "devicePluginDir=/opt/kubelet/device-plugins", "runAsUser=1000"},
			[]string{"{path: /var/lib/k0s/kubelet/pod-resources,", "{path: /opt/kubelet/device-plugins,", "runAsUser: 1000"}, nil},
		{"monitoring", "1.30", []string{plain, "monitoring.podMonitor.enabled=true", "monitoring.podMonitor.interval=30s", "monitoring.rules.enabled=true", "monitoring.rules.labels.release=prometheus", "monitoring.dashboard.enabled=true", "monitoring.dashboard.namespace=kube-system"},
			[]string{"kind: PodMonitor\n", "interval: 30s\n", "targetLabel: node}", "kind: PrometheusRule\n", "release: prometheus\n", "- alert: SGXNoQuotes\n", "grafana_dashboard: \"1\"\n", "namespace: kube-system\n", "\"title\": \"confcom\""}, nil},
		{"all nodes", "1.37", []string{plain, "nodes=all"},
			[]string{"key: kubernetes.io/arch"}, []string{"feature.node.kubernetes.io", "instance-type"}},
		{"some nodes", "1.37", []string{plain, "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key=pool",
			"affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists"},
			[]string{"key: pool"}, []string{"feature.node.kubernetes.io", "key: kubernetes.io/arch"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			manifests, err := render(t, tt.version, tt.values...)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(manifests, want) {
					t.Errorf("the manifests lack: %s", want)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(manifests, not) {
					t.Errorf("the manifests contain: %s", not)
				}
			}
			// The API server does not know the resources of Prometheus's operator and of Node
			// Feature Discovery.
			documents := slices.DeleteFunc(strings.Split(manifests, "\n---\n"), func(document string) bool {
				return strings.Contains(document, "\napiVersion: monitoring.coreos.com/") || strings.Contains(document, "\napiVersion: nfd.k8s-sigs.io/")
			})
			manifests = strings.Join(documents, "\n---\n")
			run(t, manifests, "kubectl", "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-")
		})
	}
}
