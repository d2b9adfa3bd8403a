package chart

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/confcom/confcom/internal/qcnl"
)

// TestRefused checks the errors for values that cannot work.
func TestRefused(t *testing.T) {
	const plain = "quoteHelper.enabled=false"
	tests := []struct {
		name    string
		version string
		values  []string
		want    string
	}{
		{"no platform", "1.37", nil, "platform is not set: choose what makes the quotes."},
		{"a tag and a digest", "1.37", []string{plain, "devicePlugin.image.tag=0.2.0", "devicePlugin.image.digest=sha256:" + strings.Repeat("00", 32)}, "remove the digest"},
		{"a tag of several lines", "1.37", []string{plain, "devicePlugin.image.tag=a\n        command: [sh]"}, "/devicePlugin/image/tag"},
		{"a repository of several words", "1.37", []string{plain, "devicePlugin.image.repository=a b"}, "/devicePlugin/image/repository"},
		{"a secret of several lines", "1.37", []string{plain, "verifier.tlsSecret=a\nb"}, "/verifier/tlsSecret"},
		{"a pull secret without a name", "1.37", []string{plain, "imagePullSecrets[0].names=a"}, "/imagePullSecrets/0"},
		{"less than no memory", "1.37", []string{plain, "devicePlugin.resources.limits.memory=-1Gi"}, "/devicePlugin/resources/limits/memory"},
		{"an amount of words", "1.37", []string{plain, "devicePlugin.resources.limits.memory=1 GB"}, "/devicePlugin/resources/limits/memory"},
		{"a service that is no URL", "1.37", []string{plain, "verifier.collateral=https://a b"}, "/verifier/collateral"},
		{"half a digest", "1.37", []string{plain, "devicePlugin.image.digest=sha256:00"}, "/devicePlugin/image/digest"},
		{"a registry with a scheme", "1.37", []string{plain, "global.imageRegistry=https://registry.example"}, "/global/imageRegistry"},
		{"helper without a directory", "1.37", []string{"platform=simulated", "aesmDir="}, "aesmDir is empty: the quote helper needs a directory for its socket."},
		{"DCAP without workers", "1.37", []string{"platform=dcap", "dcap.workers=0"}, "/dcap/workers"},
		{"a URL that is not a PCCS's", "1.37", []string{"platform=dcap", "dcap.provider.pccsURL=http://pccs.example/"}, "/dcap/provider/pccsURL"},
		{"upstream in the helper's directory", "1.37", []string{"platform=upstream"}, "--set aesmDir=/var/run/confcom-aesmd"},
		{"upstream in the helper's directory by another path", "1.37", []string{"platform=upstream", "aesmDir=/run/aesmd"}, "aesmDir and upstream.dir are both /var/run/aesmd"},
		{"upstream without a directory", "1.37", []string{"platform=upstream", "upstream.dir="}, "/upstream/dir"},
		{"unknown platform", "1.37", []string{"platform=hardware"}, "/platform"},
		{"a surge of two pods", "1.37", []string{"platform=simulated", "quoteHelper.maxSurge=2"}, "/quoteHelper/maxSurge"},
		{"negative concurrency", "1.37", []string{"platform=simulated", "quoteHelper.slots=-1"}, "/quoteHelper/slots"},
		{"a misspelt value of the helper", "1.37", []string{"platform=simulated", "quoteHelper.hostPid=true"}, "hostPid"},
		{"mode node before Kubernetes 1.36", "1.35.4", []string{plain, "epc.advertise=node"}, "epc.advertise=node needs Kubernetes 1.36 or newer"},
		{"an unsupported Kubernetes", "1.29.0", []string{plain}, "requires kubeVersion"},
		{"EPC for the helper's pod", "1.37", []string{"platform=simulated", "quoteHelper.epcMiB=5"}, "epcMiB"},
		{"unknown mode", "1.37", []string{plain, "epc.advertise=maybe"}, "/epc/advertise"},
		{"nothing that writes the status", "1.37", []string{plain, "epc.writer=none"}, "set epc.advertise=devices as well"},
		{"unknown writer", "1.37", []string{plain, "epc.writer=me"}, "/epc/writer"},
		{"too many devices", "1.37", []string{plain, "epc.maxDevices=262145"}, "/epc/maxDevices"},
		{"half a MiB", "1.37", []string{plain, "epc.reserve=512Ki"}, "/epc/reserve"},
		{"a device with and without EPC", "1.37", []string{plain, "enclave.enabled=true", "enclave.requireEPC=true"}, "enclave.requireEPC refuses them"},
		{"bytes as MiB", "1.37", []string{plain, "epc.resource=sgx.intel.com/epc"}, "epc.resource counts MiB, and sgx.intel.com/epc counts bytes"},
		{"manifests of AKS without the provision device", "1.37", []string{plain, "compat.aks.namespaces={a}"}, "only with provision.enabled=true"},
		{"manifests of AKS in a namespace without it", "1.37", []string{plain, "provision.enabled=true", "compat.aks.namespaces={a}"}, "names a, whose pods may not have the provision device"},
		{"manifests of an unknown plugin", "1.37", []string{plain, "compat.plugins={scone}"}, "/compat/plugins"},
		{"warnings as null", "1.37", []string{plain, "compat.warnings=null"}, "'warnings'"},
		{"all namespaces", "1.37", []string{plain, "provision.namespaces={*}"}, "/provision/namespaces"},
		{"a peer that is everybody", "1.37", []string{plain, "networkPolicy.from[0]=null"}, "/networkPolicy/from"},
		{"a wait longer than the kubelet's", "1.37", []string{plain, "devicePlugin.waitForQuotes=30s"}, "/devicePlugin/waitForQuotes"},
		{"enclave memory without root", "1.37", []string{plain, "devicePlugin.enclaveMemory=true", "runAsUser=1000"}, "devicePlugin.enclaveMemory needs runAsUser=0, and it is 1000"},
		{"enclave memory as text", "1.37", []string{plain, "devicePlugin.enclaveMemory=yes"}, "/devicePlugin/enclaveMemory"},
		{"shared device count of 0", "1.37", []string{plain, "slots=0"}, "/slots"},
		{"a name without a domain", "1.37", []string{plain, "epc.resource=epc"}, "/epc/resource"},
		{"a name with a quote", "1.37", []string{plain, "enclave.resource=example.com/a'b"}, "/enclave/resource"},
		{"a relative directory", "1.37", []string{plain, "kubeletDir=kubelet"}, "/kubeletDir"},
		{"a misspelt value", "1.37", []string{plain, "epc.advertize=node"}, "advertize"},
		{"a misspelt value of the plugin", "1.37", []string{plain, "devicePlugin.CDI=true"}, "CDI"},
		{"a misspelt value of monitoring", "1.37", []string{plain, "monitoring.podmonitor.enabled=true"}, "podmonitor"},
		{"an interval without a unit", "1.37", []string{plain, "monitoring.podMonitor.interval=30"}, "/monitoring/podMonitor/interval"},
		{"the alerts as null", "1.37", []string{plain, "monitoring.rules.enabled=null"}, "'enabled'"},
		{"a misspelt top-level value", "1.37", []string{plain, "node=all"}, "node"},
		{"a misspelt limit", "1.37", []string{plain, "devicePlugin.resources.limit.memory=1Gi"}, "limit"},
		{"a verifier of any enclave", "1.37", []string{plain, "verifier.enabled=true"}, "verifier.policy does not state which enclaves are accepted"},
		{"a verifier of any enclave of a product", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.isvProdId=1"}, "verifier.policy does not state which enclaves are accepted"},
		{"a policy with an empty list", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.mrSigners={}"}, "mrSigners"},
		{"a policy with a misspelt advisory", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.anyEnclave=true", "verifier.policy.refusedAdvisories={INTEL-SA-615}"}, "/verifier/policy/refusedAdvisories/0"},
		{"a policy with a negative number", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.anyEnclave=true", "verifier.policy.minEvaluationDataNumber=-5"}, "minEvaluationDataNumber"},
		{"a misspelt policy for trust domains", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.trustDomain.mrTd={aa}"}, "mrTd"},
		{"a verifier of any trust domain", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.trustDomain.allowSeptVe=true"}, "mrTds"},
		{"a misspelt policy", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.anyEnclave=true", "verifier.policy.mrsigners={aa}"}, "mrsigners"},
		{"a resource that is null", "1.37", []string{plain, "provision.enabled=true", "provision.resource=null"}, "'resource'"},
		{"the devices' protection as null", "1.37", []string{plain, "enclave.requireEPC=null"}, "'requireEPC'"},
		{"a TLS check as null", "1.37", []string{plain, "verifier.verifyTLS=null"}, "'verifyTLS'"},
		{"a TLS check of a PCCS as null", "1.37", []string{"platform=dcap", "dcap.provider.verifyTLS=null"}, "'verifyTLS'"},
		{"the helper's EPC as null", "1.37", []string{"platform=dcap", "dcap.epcMiBPerWorker=null"}, "'epcMiBPerWorker'"},
		{"the number of workers as null", "1.37", []string{"platform=dcap", "dcap.workers=null"}, "'workers'"},
		{"the time limit of a quote as null", "1.37", []string{"platform=dcap", "dcap.workerTimeout=null"}, "'workerTimeout'"},
		{"the helper as null", "1.37", []string{"platform=dcap", "quoteHelper.enabled=null"}, "'enabled'"},
		{"the concurrency as null", "1.37", []string{"platform=simulated", "quoteHelper.slots=null"}, "'slots'"},
		{"the helper's update as null", "1.37", []string{"platform=simulated", "quoteHelper.maxSurge=null"}, "'maxSurge'"},
		{"the wait for quotes as null", "1.37", []string{"platform=simulated", "devicePlugin.waitForQuotes=null"}, "'waitForQuotes'"},
		{"simulated EPC as null", "1.37", []string{"platform=simulated", "simulatedEPC=null"}, "'simulatedEPC'"},
		{"network policies as null", "1.37", []string{plain, "networkPolicy.enabled=null"}, "'enabled'"},
		{"a policy that is null", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy=null"}, "'policy'"},
		{"a list of a policy as null", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.mrSigners=null"}, "/verifier/policy/mrSigners"},
		{"a directory that is null", "1.37", []string{plain, "kubeletDir=null"}, "'kubeletDir'"},
		{"a namespace that is null", "1.37", []string{plain, "provision.namespaces[0]=null"}, "/provision/namespaces"},
		{"an address as a network", "1.37", []string{plain, "clusterNetworks={2001:db8::1}"}, "/clusterNetworks"},
		{"a misspelt affinity", "1.37", []string{plain, "affinity.nodeaffinity.a=b"}, "nodeaffinity"},
		{"without another chart that depends on this one", "1.37", []string{plain, "enabled=false"}, "/enabled"},
		{"the annotation by which the verifier notices new files", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.anyEnclave=true", "podAnnotations.confcom/files=b"}, "podAnnotations has confcom/files, which the chart sets for "},
		{"the annotation of a hook", "1.37", []string{"platform=simulated", `podAnnotations.helm\.sh/hook=b`}, "podAnnotations has helm.sh/hook, which the chart sets for "},
		{"one account for both writers", "1.37", []string{plain, "nodes=label", shared("nodeResource", "a"), shared("nodeLabeller", "a")}, "nodeResource has the service account a, which is that of nodeLabeller as well"},
		{"the labeller with the account of the writer", "1.37", []string{plain, "nodes=label", shared("nodeLabeller", "sgx-node-resource")}, "nodeResource has the service account sgx-node-resource, which is that of nodeLabeller as well"},
		{"the plugin with the account of the writer", "1.37", []string{plain, shared("devicePlugin", "sgx-node-resource")}, "has the service account sgx-node-resource"},
		{"the helper with the account of the writer", "1.37", []string{"platform=simulated", shared("quoteHelper", "sgx-node-resource")}, "has the service account sgx-node-resource"},
		{"the verifier with the account of the labeller", "1.37", []string{plain, "nodes=label", "verifier.enabled=true", "verifier.policy.anyEnclave=true", shared("verifier", "sgx-node-labeller")}, "has the service account sgx-node-labeller"},
		{"the plugin with the account of a job", "1.37", []string{plain, shared("devicePlugin", "confcom-unlabel")}, "devicePlugin has the service account confcom-unlabel, which is that of confcom-unlabel as well"},
		{"the verifier with the account of the test", "1.37", []string{plain, "verifier.enabled=true", "verifier.policy.anyEnclave=true", shared("verifier", "confcom-test")}, "which is that of confcom-test as well"},
		{"a misspelt toleration", "1.37", []string{plain, "tolerations[0].name=a"}, "tolerations"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := template(t, tt.version, "{}", tt.values...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %q", err, tt.want)
			}
		})
	}
}

// shared returns the values that give a component an account that exists.
func shared(component, account string) string {
	return component + ".serviceAccount.create=false," + component + ".serviceAccount.name=" + account
}

// TestSharedAccount checks that components share a service account where none of them may
// write to nodes, and where only one of those that may is installed.
func TestSharedAccount(t *testing.T) {
	for _, values := range [][]string{
		{"platform=simulated", shared("devicePlugin", "a"), shared("quoteHelper", "a"), "verifier.enabled=true", "verifier.policy.anyEnclave=true", shared("verifier", "a")},
		{"platform=simulated", shared("nodeResource", "a"), shared("nodeLabeller", "a")},
		{"platform=simulated", "nodes=label", "epc.writer=nfd", shared("nodeResource", "a"), shared("nodeLabeller", "a")},
	} {
		if _, err := template(t, "1.37", "{}", values...); err != nil {
			t.Errorf("%q: %v", values, err)
		}
	}
}

// TestProviderConfiguration checks that the configuration that the chart writes for
// Intel's quote provider is one that the provider understands.
func TestProviderConfiguration(t *testing.T) {
	for _, values := range []string{"azureTHIM=true", "pccsURL=https://pccs.example:8081/sgx/certification/v4/"} {
		file := find[*corev1.ConfigMap](render(t, "1.37.2", "{platform: dcap}", "dcap.provider."+values), "sgx-quote-provider")
		config, findings := qcnl.Parse([]byte(file.Data["sgx_default_qcnl.conf"]))
		if len(findings) > 0 || config.PCCSURL == qcnl.Default().PCCSURL {
			t.Errorf("%s: %+v, %v", values, config, findings)
		}
	}
}
