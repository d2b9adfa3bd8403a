package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// hatch is a value for pods, which all components have, and what it does.
type hatch struct {
	name string
	// values are those of a component or, if everywhere is not "", of all.
	values string
	// everywhere is which pods the value is for if no component has it: "all", "daemons", or
	// "" if only components can have it.
	everywhere string
	// jobs is whether the jobs have it as well.
	jobs bool
	// apply does to a pod what the value should.
	apply func(*corev1.PodTemplateSpec)
}

func hatches() []hatch {
	env := corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://proxy.example:3128"}
	return []hatch{
		{"nodeSelector", `{nodeSelector: {pool: sgx}}`, "daemons", false, func(p *corev1.PodTemplateSpec) {
			p.Spec.NodeSelector = map[string]string{"pool": "sgx"}
		}},
		{"affinity", `{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [a]}]}]}}}}`, "daemons", false, func(p *corev1.PodTemplateSpec) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"a"}}}}}}}}
		}},
		{"tolerations", `{tolerations: [{key: sgx, operator: Equal, value: "yes", effect: NoExecute, tolerationSeconds: 36000000}]}`, "daemons", false, func(p *corev1.PodTemplateSpec) {
			seconds := int64(36_000_000)
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "sgx", Operator: "Equal", Value: "yes", Effect: "NoExecute", TolerationSeconds: &seconds})
		}},
		{"priorityClassName", `{priorityClassName: high}`, "daemons", false, func(p *corev1.PodTemplateSpec) {
			p.Spec.PriorityClassName = "high"
		}},
		{"podLabels", `{podLabels: {team: "1", example.com/a: "true"}}`, "all", true, func(p *corev1.PodTemplateSpec) {
			p.Labels["team"], p.Labels["example.com/a"] = "1", "true"
		}},
		{"podAnnotations", `{podAnnotations: {example.com/scrape: "8080"}}`, "all", true, func(p *corev1.PodTemplateSpec) {
			if p.Annotations == nil {
				p.Annotations = make(map[string]string)
			}
			p.Annotations["example.com/scrape"] = "8080"
		}},
		{"extraEnv", `{extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example:3128"}]}`, "all", true, func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, env)
		}},
		{"dnsPolicy", `{dnsPolicy: None}`, "all", true, func(p *corev1.PodTemplateSpec) {
			p.Spec.DNSPolicy = "None"
		}},
		{"dnsConfig", `{dnsConfig: {nameservers: [192.0.2.1], searches: [example.com], options: [{name: ndots, value: "1"}]}}`, "all", true, func(p *corev1.PodTemplateSpec) {
			one := "1"
			p.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1"}, Searches: []string{"example.com"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &one}}}
		}},
		{"seLinuxOptions", `{seLinuxOptions: {type: container_device_plugin_t}}`, "daemons", false, func(p *corev1.PodTemplateSpec) {
			p.Spec.SecurityContext.SELinuxOptions = &corev1.SELinuxOptions{Type: "container_device_plugin_t"}
		}},
		{"extraVolumes", `{extraVolumes: [{name: mine, configMap: {name: mine}}], extraVolumeMounts: [{name: mine, mountPath: /mine, readOnly: true}]}`, "", false, func(p *corev1.PodTemplateSpec) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "mine", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "mine"}}}})
			c := &p.Spec.Containers[0]
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "mine", MountPath: "/mine", ReadOnly: true})
		}},
		{"serviceAccount", `{serviceAccount: {create: false, name: mine}}`, "", false, func(p *corev1.PodTemplateSpec) {
			p.Spec.ServiceAccountName = "mine"
		}},
		{"no priorityClassName", `{priorityClassName: ""}`, "daemons", false, func(p *corev1.PodTemplateSpec) {
			p.Spec.PriorityClassName = ""
		}},
	}
}

// TestHatches checks that each value changes what it should in the pods that it is for, and
// nothing else in any pod. One rendering has all values for one component.
func TestHatches(t *testing.T) {
	const version = "1.37.2"
	rendered := pods(t, render(t, version, all))
	check := func(t *testing.T, values map[string]any, changed func(name string, h hatch) bool, hatches ...hatch) {
		t.Helper()
		want := make(map[string]*corev1.PodTemplateSpec)
		for name, pod := range rendered {
			want[name] = pod.DeepCopy()
			for _, h := range hatches {
				if changed(name, h) {
					h.apply(want[name])
				}
			}
		}
		comparePods(t, pods(t, render(t, version, merged(t, encode(t, values)))), want)
	}
	// The last one undoes another one.
	sets := [][]hatch{hatches()[:len(hatches())-1], hatches()[len(hatches())-1:]}
	for _, set := range sets {
		for _, c := range components() {
			t.Run(fmt.Sprintf("%s of %s", set[0].name, c.key), func(t *testing.T) {
				t.Parallel()
				values := make(map[string]any)
				for _, h := range set {
					merge(values, map[string]any{c.key: parse(t, h.values)})
				}
				check(t, values, func(name string, h hatch) bool {
					return name == c.name || h.jobs && slices.Contains(c.jobs, name)
				}, set...)
			})
		}
		t.Run(set[0].name+" of all", func(t *testing.T) {
			t.Parallel()
			values := make(map[string]any)
			for _, h := range set {
				if h.everywhere != "" {
					merge(values, parse(t, h.values))
				}
			}
			check(t, values, func(name string, h hatch) bool {
				isJob := slices.ContainsFunc(components(), func(c component) bool { return slices.Contains(c.jobs, name) })
				return h.everywhere != "" && strings.HasPrefix(name, "sgx-") || h.everywhere == "all" && (!isJob || h.jobs)
			}, set...)
		})
	}
}

func comparePods(t *testing.T, got, want map[string]*corev1.PodTemplateSpec) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestComponents checks that the tests here know all workloads of the chart.
func TestComponents(t *testing.T) {
	var known []string
	for _, c := range components() {
		known = append(append(known, c.name), c.jobs...)
	}
	slices.Sort(known)
	if got := slices.Sorted(maps.Keys(pods(t, render(t, "1.37.2", all)))); !slices.Equal(got, known) {
		t.Errorf("the chart has the workloads %v, want %v: see components", got, known)
	}
}

// TestPrecedence checks that what a component has adds to what all have, or replaces it.
func TestPrecedence(t *testing.T) {
	values := merged(t, `
nodeSelector: {a: all, b: all}
tolerations: [{key: all, operator: Exists}]
affinity: {podAffinity: {}}
priorityClassName: all
podLabels: {a: all, b: all}
podAnnotations: {a: all, b: all}
extraEnv: [{name: A, value: all}, {name: B, value: all}]
dnsPolicy: Default
dnsConfig: {nameservers: [192.0.2.1]}
seLinuxOptions: {type: all, level: s0}
quoteHelper:
  nodeSelector: {b: own}
  tolerations: [{key: own, operator: Exists}]
  affinity: {podAntiAffinity: {}, nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}
  priorityClassName: own
  podLabels: {b: own}
  podAnnotations: {b: own}
  extraEnv: [{name: B, value: own}]
  dnsPolicy: ClusterFirst
  dnsConfig: {nameservers: [192.0.2.2]}
  seLinuxOptions: {type: own}
`)
	p := pods(t, render(t, "1.37.2", values))["sgx-quote-helper"]
	// An affinity that requires nothing of nodes leaves "nodes" as it is.
	nodes := pods(t, render(t, "1.37.2", all))["sgx-quote-helper"].Spec.Affinity.NodeAffinity.DeepCopy()
	nodes.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.PreferredSchedulingTerm{}
	got := map[string]any{
		"nodeSelector": p.Spec.NodeSelector, "affinity": p.Spec.Affinity, "priority": p.Spec.PriorityClassName,
		"label": p.Labels["a"] + p.Labels["b"], "annotation": p.Annotations["a"] + p.Annotations["b"],
		"dns": []any{p.Spec.DNSPolicy, p.Spec.DNSConfig}, "selinux": p.Spec.SecurityContext.SELinuxOptions,
		"tolerations": p.Spec.Tolerations[1:], "env": p.Spec.Containers[0].Env[1:],
	}
	want := map[string]any{
		"nodeSelector": map[string]string{"a": "all", "b": "own"}, "affinity": &corev1.Affinity{NodeAffinity: nodes, PodAntiAffinity: new(corev1.PodAntiAffinity)}, "priority": "own",
		"label": "allown", "annotation": "allown",
		"dns": []any{corev1.DNSPolicy("ClusterFirst"), &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.2"}}}, "selinux": &corev1.SELinuxOptions{Type: "own"},
		"tolerations": []corev1.Toleration{{Key: "all", Operator: "Exists"}, {Key: "own", Operator: "Exists"}},
		"env":         []corev1.EnvVar{{Name: "A", Value: "all"}, {Name: "B", Value: "own"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestHostNetwork checks that a daemon with the network of the node has a port of its own
// there, and is updated without a second pod beside it.
func TestHostNetwork(t *testing.T) {
	for _, c := range components() {
		if c.key == "verifier" { // it needs nothing of a node
			continue
		}
		t.Run(c.key, func(t *testing.T) {
			want := pods(t, render(t, "1.37.2", merged(t, `{quoteHelper: {maxSurge: 0}}`)))
			for name, pod := range want {
				if name != c.name && !slices.Contains(c.jobs, name) {
					continue
				}
				pod.Spec.HostNetwork, pod.Spec.DNSPolicy = true, corev1.DNSClusterFirstWithHostNet
				if container := &pod.Spec.Containers[0]; name == c.name {
					container.Ports[0].ContainerPort = 9999
					container.Args[slices.Index(container.Args, "--http-address=:8080")] = "--http-address=:9999"
				}
			}
			values := parse(t, `{quoteHelper: {maxSurge: 0}}`)
			merge(values, map[string]any{c.key: map[string]any{"hostNetwork": true, "httpPort": 9999}})
			objects := render(t, "1.37.2", merged(t, encode(t, values)))
			comparePods(t, pods(t, objects), want)
			if surge := find[*appsv1.DaemonSet](objects, c.name).Spec.UpdateStrategy.RollingUpdate.MaxSurge.IntValue(); surge != 0 {
				t.Errorf("an update starts %d more pods on a node, for which no port is left", surge)
			}
			for _, policy := range []string{"confcom", "confcom-test"} {
				var ports []int
				for _, port := range find[*networkingv1.NetworkPolicy](objects, policy).Spec.Ingress[0].Ports {
					ports = append(ports, port.Port.IntValue())
				}
				if want := []int{8080, 9999}; !slices.Equal(ports, want) {
					t.Errorf("the network policy %s admits to the ports %v, want %v", policy, ports, want)
				}
			}
		})
	}
}

func encode(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestServiceAccounts checks that each component has an account of its own, that an existing
// one is used instead, and that only those that talk to the API server get a token.
func TestServiceAccounts(t *testing.T) {
	objects := render(t, "1.37.2", merged(t, `{quoteHelper: {serviceAccount: {annotations: {a: b}}}}`))
	for _, c := range components() {
		account := find[*corev1.ServiceAccount](objects, c.name)
		if account == nil {
			t.Errorf("%s has no service account", c.key)
			continue
		}
		talks := c.key == "nodeResource" || c.key == "nodeLabeller"
		pod := pods(t, objects)[c.name]
		if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token != talks || (account.AutomountServiceAccountToken == nil) != talks {
			t.Errorf("%s: pod %v, account %v: want a token: %t", c.key, token, account.AutomountServiceAccountToken, talks)
		}
		if got := account.Annotations["a"]; (got == "b") != (c.key == "quoteHelper") {
			t.Errorf("%s has the annotation %q", c.key, got)
		}
		without := render(t, "1.37.2", merged(t, fmt.Sprintf("{%s: {serviceAccount: {create: false, name: mine}}}", c.key)))
		if find[*corev1.ServiceAccount](without, c.name) != nil {
			t.Errorf("%s has a service account that was not asked for", c.key)
		}
		// Rules are about the account that is used.
		if talks {
			text, err := template(t, "1.37.2", merged(t, fmt.Sprintf("{%s: {serviceAccount: {create: false, name: mine}}}", c.key)))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text, "'system:serviceaccount:confcom-system:mine'") || strings.Contains(text, "system:serviceaccount:confcom-system:"+c.name+"'") {
				t.Errorf("the admission policy of %s is not about the account that it has", c.key)
			}
			if subject := find[*rbacv1.ClusterRoleBinding](without, c.name).Subjects[0].Name; subject != "mine" {
				t.Errorf("the role of %s is bound to %s", c.key, subject)
			}
		}
	}
}

// TestFiles checks the files of administrators: CA certificates, and the configuration of the
// quote provider.
func TestFiles(t *testing.T) {
	file := func(key, path string) []corev1.KeyToPath { return []corev1.KeyToPath{{Key: key, Path: path}} }
	config := func(name, key, path string) corev1.VolumeSource {
		return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: file(key, path)}}
	}
	secret := func(name, key, path string) corev1.VolumeSource {
		return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, Items: file(key, path)}}
	}
	ca, qcnl := corev1.VolumeMount{Name: "ca-certificates", MountPath: "/etc/ssl/certs", ReadOnly: true}, corev1.VolumeMount{Name: "provider", MountPath: "/etc/confcom", ReadOnly: true}
	for _, c := range []struct {
		name, values string
		pods         []string
		mount        corev1.VolumeMount
		source       corev1.VolumeSource
	}{
		{"CA in a config map", `{caBundle: {configMap: trust}}`, []string{"confcom-verifier", "sgx-quote-helper"}, ca, config("trust", "ca.crt", "ca-certificates.crt")},
		{"CA in a secret", `{caBundle: {configMap: "", secret: trust, key: bundle.pem}}`, []string{"confcom-verifier", "sgx-quote-helper"}, ca, secret("trust", "bundle.pem", "ca-certificates.crt")},
		{"no CA for a helper without network", `{platform: upstream, aesmDir: /var/run/confcom-aesmd}`, []string{"confcom-verifier"}, ca, config("bundle", "ca.crt", "ca-certificates.crt")},
		{"no CA", `{caBundle: {configMap: ""}}`, nil, ca, corev1.VolumeSource{}},
		{"provider in a secret", `{dcap: {provider: {azureTHIM: false, file: {secret: qcnl, key: q}}}}`, []string{"sgx-quote-helper"}, qcnl, secret("qcnl", "q", "sgx_default_qcnl.conf")},
		{"provider in a config map", `{dcap: {provider: {azureTHIM: false, file: {configMap: qcnl}}}}`, []string{"sgx-quote-helper"}, qcnl, config("qcnl", "sgx_default_qcnl.conf", "sgx_default_qcnl.conf")},
		{"provider by values", `{}`, []string{"sgx-quote-helper"}, qcnl, corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "sgx-quote-provider"}}}},
		{"provider of the image", `{dcap: {provider: {azureTHIM: false}}}`, nil, qcnl, corev1.VolumeSource{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, pod := range pods(t, render(t, "1.37.2", merged(t, c.values))) {
				want := slices.Contains(c.pods, name)
				if got := slices.ContainsFunc(pod.Spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return cmp.Equal(m, c.mount) }); got != want {
					// The verifier has other files at the path of the provider's.
					t.Errorf("%s has the mount %s: %t, want %t", name, c.mount.Name, got, want)
				}
				if !want {
					continue
				}
				i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == c.mount.Name })
				if diff := cmp.Diff(c.source, pod.Spec.Volumes[i].VolumeSource); diff != "" {
					t.Errorf("%s: -want +got:\n%s", name, diff)
				}
				if c.mount.Name == qcnl.Name && !slices.Contains(pod.Spec.Containers[0].Args, "--qcnl-config=/etc/confcom/sgx_default_qcnl.conf") {
					t.Errorf("%s is not told of the file", name)
				}
			}
		})
	}
}

// TestNamespace checks that the chart has the namespace only for its labels, and keeps it.
func TestNamespace(t *testing.T) {
	if find[*corev1.Namespace](render(t, "1.37.2", all), "confcom-system") != nil {
		t.Error("the chart has the namespace, without labels for it")
	}
	got := find[*corev1.Namespace](render(t, "1.37.2", merged(t, `{namespaceLabels: {pod-security.kubernetes.io/enforce: privileged}}`)), "confcom-system")
	if got == nil || got.Labels["pod-security.kubernetes.io/enforce"] != "privileged" || got.Annotations["helm.sh/resource-policy"] != "keep" {
		t.Errorf("the namespace is %v", got)
	}
}

// TestDisruptionBudget checks the budget of the verifier.
func TestDisruptionBudget(t *testing.T) {
	number, share := intstr.FromInt32(1), intstr.FromString("50%")
	for _, c := range []struct {
		values string
		want   *policyv1.PodDisruptionBudgetSpec
	}{
		{`{}`, nil},
		{`{verifier: {podDisruptionBudget: {maxUnavailable: 1}}}`, &policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &number}},
		{`{verifier: {podDisruptionBudget: {minAvailable: 1}}}`, &policyv1.PodDisruptionBudgetSpec{MinAvailable: &number}},
		{`{verifier: {podDisruptionBudget: {minAvailable: 50%}}}`, &policyv1.PodDisruptionBudgetSpec{MinAvailable: &share}},
		{`{verifier: {enabled: false, podDisruptionBudget: {maxUnavailable: 1}}}`, nil},
	} {
		t.Run(c.values, func(t *testing.T) {
			objects := render(t, "1.37.2", merged(t, c.values))
			got := find[*policyv1.PodDisruptionBudget](objects, "confcom-verifier")
			if got == nil || c.want == nil {
				if got != nil || c.want != nil {
					t.Errorf("got %v, want %v", got, c.want)
				}
				return
			}
			policy := policyv1.AlwaysAllow
			c.want.UnhealthyPodEvictionPolicy = &policy
			c.want.Selector = find[*appsv1.Deployment](objects, "confcom-verifier").Spec.Selector
			if diff := cmp.Diff(*c.want, got.Spec); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestNodes checks which nodes the daemons run on.
func TestNodes(t *testing.T) {
	const label = "confcom.github.io/sgx"
	for _, c := range []struct {
		name, values, key string
		terms             int
		labeller          bool
	}{
		{"nodes that something has labelled", `{platform: dcap}`, "feature.node.kubernetes.io/cpu-security.sgx.enabled", 4, false},
		{"all nodes", `{platform: dcap, nodes: all}`, "kubernetes.io/os", 1, false},
		{"simulated nodes", `{platform: simulated}`, "kubernetes.io/os", 1, false},
		{"nodes that the chart labels", `{platform: dcap, nodes: label}`, label, 1, true},
		{"simulated nodes that the chart labels", `{platform: simulated, nodes: label}`, label, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects := render(t, "1.37.2", c.values)
			for name, pod := range pods(t, objects) {
				if !strings.HasPrefix(name, "sgx-") {
					continue
				}
				terms := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
				key, count := c.key, c.terms
				if name == "sgx-node-labeller" {
					key, count = "kubernetes.io/os", 1
				}
				if len(terms) != count || terms[0].MatchExpressions[0].Key != key {
					t.Errorf("%s: %d terms, the first with %s, want %d with %s", name, len(terms), terms[0].MatchExpressions[0].Key, count, key)
				}
			}
			labeller := find[*appsv1.DaemonSet](objects, "sgx-node-labeller")
			if (labeller != nil) != c.labeller {
				t.Errorf("a labeller: %t, want %t", labeller != nil, c.labeller)
			}
			simulated := strings.Contains(c.values, "simulated")
			if labeller != nil && slices.Contains(labeller.Spec.Template.Spec.Containers[0].Args, "--simulate-epc=64Mi") != simulated {
				t.Errorf("the labeller's arguments: %v", labeller.Spec.Template.Spec.Containers[0].Args)
			}
		})
	}
}

// TestEnclaveMemory checks that what the metrics of enclave memory need is given to the device
// plugin alone, and only if they are wanted.
func TestEnclaveMemory(t *testing.T) {
	without := pods(t, render(t, "1.37.2", all))
	for name, pod := range without {
		for _, c := range pod.Spec.Containers {
			if add := c.SecurityContext.Capabilities.Add; len(add) > 0 || pod.Spec.HostPID != (name == "sgx-quote-helper") {
				t.Errorf("%s has the capabilities %v, hostPID %t", name, add, pod.Spec.HostPID)
			}
		}
	}
	want := make(map[string]*corev1.PodTemplateSpec)
	for name, pod := range without {
		want[name] = pod.DeepCopy()
	}
	plugin := &want["sgx-device-plugin"].Spec
	plugin.HostPID = true
	plugin.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_PTRACE"}
	at := slices.IndexFunc(plugin.Containers[0].Args, func(arg string) bool { return strings.HasPrefix(arg, "--state-dir=") })
	plugin.Containers[0].Args = slices.Insert(plugin.Containers[0].Args, at, "--enclave-memory")
	comparePods(t, pods(t, render(t, "1.37.2", merged(t, `{devicePlugin: {enclaveMemory: true}}`))), want)
}

// TestCollisions checks that nothing of an administrator's can take the place of what the
// chart has in a pod, whatever that is: it is read from what is rendered.
func TestCollisions(t *testing.T) {
	objects := render(t, "1.37.2", all)
	const volume = "extraVolumes: [{name: mine, emptyDir: {}}]"
	refused := func(t *testing.T, values, want string) {
		t.Helper()
		if _, err := template(t, "1.37.2", merged(t, values)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error about %q", values, err, want)
		}
	}
	for i, c := range components() {
		t.Run(c.key, func(t *testing.T) {
			t.Parallel()
			pod := pods(t, objects)[c.name]
			for _, v := range pod.Spec.Volumes {
				refused(t, fmt.Sprintf("{%s: {extraVolumes: [{name: %s, emptyDir: {}}]}}", c.key, v.Name), "the pod has another one of this name")
			}
			var beside []string
			for j, m := range pod.Spec.Containers[0].VolumeMounts {
				paths := []string{m.MountPath}
				if i == 0 && j == 0 { // the forms of a path are compared in one place for all
					refused(t, fmt.Sprintf("{%s: {extraVolumeMounts: [{name: %s, mountPath: /mine}]}}", c.key, m.Name), c.key+".extraVolumes lacks")
					paths = []string{"/mine/.." + m.MountPath, m.MountPath + "/below/", path.Dir(m.MountPath)}
				}
				if below, found := strings.CutPrefix(m.MountPath, "/var/run/"); found {
					paths = []string{"/run/" + below}
				}
				for _, at := range paths {
					refused(t, fmt.Sprintf("{%s: {%s, extraVolumeMounts: [{name: mine, mountPath: %s}]}}", c.key, volume, at), "Choose a path that is neither above nor below it")
				}
				beside = append(beside, fmt.Sprintf("{name: mine, mountPath: %s-x}", m.MountPath)) // a longer name is another path
			}
			if _, err := template(t, "1.37.2", merged(t, fmt.Sprintf("{%s: {%s, extraVolumeMounts: [%s]}}", c.key, volume, strings.Join(beside, ", ")))); err != nil {
				t.Errorf("beside: %v", err)
			}
			for _, e := range pod.Spec.Containers[0].Env {
				refused(t, fmt.Sprintf("{%s: {extraEnv: [{name: %s, value: x}]}}", c.key, e.Name), "extraEnv sets "+e.Name)
			}
			for label := range pod.Labels {
				refused(t, fmt.Sprintf("{%s: {podLabels: {%s: x}}}", c.key, label), "podLabels has "+label)
				if i == 0 {
					refused(t, fmt.Sprintf("{podLabels: {%s: x}}", label), "podLabels has "+label)
				}
			}
			for annotation := range pod.Annotations {
				refused(t, fmt.Sprintf("{%s: {podAnnotations: {%s: x}}}", c.key, annotation), "podAnnotations has "+annotation)
			}
		})
	}
}

// TestHatchesRefused checks the texts about other values for pods that cannot work.
func TestHatchesRefused(t *testing.T) {
	for _, c := range []struct{ name, values, want string }{
		{"an unknown value of each component", `{quoteHelper: {nodeselector: {}}}`, "additional properties 'nodeselector' not allowed"},
		{"a label that is no text", `{podLabels: {a: true}}`, "/podLabels/a"},
		{"a selector that is no text", `{devicePlugin: {nodeSelector: {a: 1}}}`, "/devicePlugin/nodeSelector/a"},
		{"a misspelt variable", `{extraEnv: [{name: A, val: x}]}`, "additional properties 'val' not allowed"},
		{"a variable without a name", `{extraEnv: [{value: x}]}`, "missing property 'name'"},
		{"a variable twice", `{extraEnv: [{name: A}, {name: A}]}`, "extraEnv sets A, which the pods of"},
		{"a volume without a source", `{quoteHelper: {extraVolumes: [{name: a}]}}`, "/quoteHelper/extraVolumes/0"},
		{"a volume with two sources", `{quoteHelper: {extraVolumes: [{name: a, emptyDir: {}, secret: {}}]}}`, "/quoteHelper/extraVolumes/0"},
		{"a volume of an unknown kind", `{quoteHelper: {extraVolumes: [{name: a, floppy: {}}]}}`, "floppy"},
		{"volumes for all", `{extraVolumes: []}`, "extraVolumes"},
		{"a mount that passes mounts to the node", `{quoteHelper: {extraVolumes: [{name: a, emptyDir: {}}], extraVolumeMounts: [{name: a, mountPath: /a, mountPropagation: Bidirectional}]}}`, "mountPropagation"},
		{"a relative path", `{quoteHelper: {extraVolumes: [{name: a, emptyDir: {}}], extraVolumeMounts: [{name: a, mountPath: a}]}}`, "mountPath"},
		{"an unknown DNS policy", `{dnsPolicy: Cluster}`, "/dnsPolicy"},
		{"an unknown part of the SELinux context", `{seLinuxOptions: {typ: x}}`, "typ"},
		{"the network of the node for the verifier", `{verifier: {hostNetwork: true}}`, "additional properties 'hostNetwork' not allowed"},
		{"the network of the node for all", `{hostNetwork: true}`, "additional properties 'hostNetwork' not allowed"},
		{"two helpers with one port", `{quoteHelper: {hostNetwork: true}}`, "quoteHelper.hostNetwork needs quoteHelper.maxSurge=0"},
		{"two daemons with one port", `{quoteHelper: {hostNetwork: true, maxSurge: 0}, devicePlugin: {hostNetwork: true}}`, "have the network of the node (hostNetwork) and the same port 8080"},
		{"no account", `{nodeResource: {serviceAccount: {create: false}}}`, "name an existing one of the namespace confcom-system"},
		{"a new account with a name", `{nodeLabeller: {serviceAccount: {name: mine}}}`, "set serviceAccount.create=false as well"},
		{"an account that is null", `{verifier: {serviceAccount: null}}`, "'serviceAccount'"},
		{"two files of CAs", `{caBundle: {configMap: a, secret: b}}`, "caBundle names the config map a and the secret b"},
		{"two files for the provider", `{dcap: {provider: {azureTHIM: false, file: {configMap: a, secret: b}}}}`, "dcap.provider.file names the config map a and the secret b"},
		{"a file and values for the provider", `{dcap: {provider: {file: {configMap: a}}}}`, "pccsURL and azureTHIM would have no effect"},
		{"a budget of both kinds", `{verifier: {podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}}}`, "/verifier/podDisruptionBudget"},
		{"a budget that evicts nothing", `{verifier: {podDisruptionBudget: {maxUnavailable: 0}}}`, "lets no pod be evicted"},
		{"a budget of all pods", `{verifier: {podDisruptionBudget: {minAvailable: 2}}}`, "lets no pod be evicted"},
		{"a budget of all pods as a share", `{verifier: {podDisruptionBudget: {minAvailable: 100%}}}`, "lets no pod be evicted"},
		{"a budget of no share", `{verifier: {podDisruptionBudget: {maxUnavailable: 0%}}}`, "lets no pod be evicted"},
		{"unknown nodes", `{nodes: labels}`, "/nodes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := template(t, "1.37.2", merged(t, c.values)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
}

// TestSchemaKnowsHatches checks that each component accepts the values that all have, and
// that the values file lists what only components have.
func TestSchemaKnowsHatches(t *testing.T) {
	text, err := os.ReadFile("../../charts/confcom/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct {
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	values, err := os.ReadFile("../../charts/confcom/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, pods, found := strings.Cut(string(values), "\n# Pods. ")
	if !found {
		t.Fatal("values.yaml has no section about pods")
	}
	keys := regexp.MustCompile(`(?m)^([a-zA-Z]+):`).FindAllStringSubmatch(pods, -1)
	if len(keys) < 10 {
		t.Fatalf("only %d values of pods", len(keys))
	}
	for _, c := range components() {
		for _, key := range keys {
			if schema.Properties[c.key].Properties[key[1]] == nil {
				t.Errorf("%s cannot have %s", c.key, key[1])
			}
		}
	}
}

// TestNull checks that no value can be removed, as null does, whose default means something,
// except where its absence is a choice that is documented or that fails safe.
func TestNull(t *testing.T) {
	mayLack := []string{"global", "compat.plugins", "networkPolicy.from", "priorityClassName", "monitoring.dashboard.labels.grafana_dashboard"}
	values, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	root := parse(t, string(text))
	count := 0
	var check func(path string, values, schema map[string]any)
	check = func(path string, values, schema map[string]any) {
		if name, ok := schema["$ref"].(string); ok {
			schema = root["$defs"].(map[string]any)[strings.TrimPrefix(name, "#/$defs/")].(map[string]any)
		}
		required, _ := schema["required"].([]any)
		properties, _ := schema["properties"].(map[string]any)
		for key, value := range values {
			at := strings.TrimPrefix(path+"."+key, ".")
			switch v := reflect.ValueOf(value); {
			case value == nil || v.IsZero() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0:
				continue // its absence is the same
			case key == "resources": // no limits, or no requests
				continue
			}
			count++
			if !slices.Contains(required, any(key)) && !slices.Contains(mayLack, at) {
				t.Errorf("%s may be null: require it in the schema", at)
			}
			if below, ok := value.(map[string]any); ok {
				check(at, below, properties[key].(map[string]any))
			}
		}
	}
	check("", parse(t, string(values)), root)
	if count < 60 {
		t.Errorf("only %d values", count)
	}
}
