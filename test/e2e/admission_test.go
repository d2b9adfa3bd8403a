package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestEnclaveIsAddedToEPC checks that the admission policy adds the enclave resource to
// containers with EPC and changes no others.
func TestEnclaveIsAddedToEPC(t *testing.T) {
	const epcKey, enclaveKey = `"` + resource + `"`, `"` + enclave + `"`
	tests := []struct {
		name string
		spec string
		want map[string]string // limits and requests on the enclave resource by container
		err  string
	}{
		{name: "a number", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"limits": {` + epcKey + `: 10}}}]}`,
			want: map[string]string{"a": "1"}},
		{name: "a string", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"limits": {` + epcKey + `: "10"}}}]}`,
			want: map[string]string{"a": "1"}},
		{name: "with requests", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"limits": {` + epcKey + `: 10, "memory": "1Gi"}, "requests": {` + epcKey + `: 10}}}]}`,
			want: map[string]string{"a": "1"}},
		{name: "one of two containers", spec: `{"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x", "resources": {"limits": {` + epcKey + `: 10}}}]}`,
			want: map[string]string{"b": "1"}},
		{name: "all kinds of containers", spec: `{
			"initContainers": [
				{"name": "i", "image": "x", "resources": {"limits": {` + epcKey + `: 1}}},
				{"name": "none", "image": "x"},
				{"name": "s", "image": "x", "restartPolicy": "Always", "resources": {"limits": {` + epcKey + `: 2}}}],
			"containers": [{"name": "a", "image": "x", "resources": {"limits": {` + epcKey + `: 3}}}]}`,
			want: map[string]string{"i": "1", "s": "1", "a": "1"}},
		{name: "only an init container", spec: `{
			"initContainers": [{"name": "i", "image": "x", "resources": {"limits": {` + epcKey + `: 1}}}],
			"containers": [{"name": "a", "image": "x"}]}`,
			want: map[string]string{"i": "1"}},
		{name: "with the device already", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"limits": {` + epcKey + `: 10, ` + enclaveKey + `: 2}}}]}`,
			want: map[string]string{"a": "2"}},
		{name: "the same environment variable twice", spec: `{"containers": [{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}, {"name": "E", "value": "2"}], "resources": {"limits": {` + epcKey + `: 10}}}]}`,
			want: map[string]string{"a": "1"}},

		{name: "no resources", spec: `{"containers": [{"name": "a", "image": "x"}]}`},
		{name: "null resources", spec: `{"containers": [{"name": "a", "image": "x", "resources": null}]}`},
		{name: "empty resources", spec: `{"containers": [{"name": "a", "image": "x", "resources": {}}]}`},
		{name: "null limits", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"limits": null}}]}`},
		{name: "other limits", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"limits": {"memory": "1Gi"}}}]}`},
		{name: "only requests", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"requests": {"cpu": "10m"}}}]}`},
		{name: "no EPC", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"limits": {` + epcKey + `: 0}}}]}`},
		{name: "only the device", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"limits": {` + enclaveKey + `: 1}}}]}`,
			want: map[string]string{"a": "1"}},

		// For what the API server itself rejects, the error is its own.
		{name: "only requests of EPC", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"requests": {` + epcKey + `: 1}}}]}`,
			err: "Limit must be set"},
		{name: "half a MiB", spec: `{"containers": [{"name": "a", "image": "x", "resources": {"limits": {` + epcKey + `: "500m"}}}]}`,
			err: "must be an integer"},
		{name: "no containers", spec: `{}`, err: "spec.containers: Required value"},
		{name: "null containers", spec: `{"containers": null}`, err: "spec.containers: Required value"},
		{name: "null containers, init container with EPC", spec: `{"containers": null, "initContainers": [{"name": "i", "image": "x", "resources": {"limits": {` + epcKey + `: 1}}}]}`,
			err: "spec.containers: Required value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			manifest := `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "e2e-admission"}, "spec": ` + tt.spec + `}`
			output, err := try(t, manifest, "kubectl", "create", "--dry-run=server", "--validate=false", "-o", "json", "-f", "-")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var pod struct {
				Spec struct {
					InitContainers, Containers []struct {
						Name      string
						Resources struct{ Limits, Requests map[string]string }
					}
				}
			}
			if err := json.Unmarshal([]byte(output), &pod); err != nil {
				t.Fatal(err)
			}
			for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
				if limit, request, want := c.Resources.Limits[enclave], c.Resources.Requests[enclave], tt.want[c.Name]; limit != want || request != want {
					t.Errorf("container %s: limit %q, request %q, want %q", c.Name, limit, request, want)
				}
			}
		})
	}
}

// TestNodeStatusIsGuarded checks that sgx-node-resource, which may patch the status of
// nodes, can change nothing but the EPC and one condition of its own node.
func TestNodeStatusIsGuarded(t *testing.T) {
	own := nodeName(t)
	const other = "e2e-other-node"
	kubectl(t, "delete", "node", other, "--ignore-not-found")
	t.Cleanup(func() { kubectl(t, "delete", "node", other) })
	run(t, `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "`+other+`"}}`, "kubectl", "create", "-f", "-")

	writer := newAPIClient(t, "--bound-object-kind=Pod", "--bound-object-name="+daemonPod(t, "sgx-node-resource"))
	unbound := newAPIClient(t)
	const onlyEPC = "sgx-node-resource may change only " + resource
	condition := func(kind string) string {
		return `{"status": {"conditions": [{"type": "` + kind + `", "status": "Unknown", "reason": "Tried"}]}}`
	}
	const epc = `{"status": {"capacity": {"` + resource + `": "7"}, "allocatable": {"` + resource + `": "7"}}}`

	tests := []struct {
		name   string
		client apiClient
		method string
		path   string
		patch  string
		status int
		want   string // part of the answer
	}{
		{"EPC of its node", writer, http.MethodPatch, own + "/status", epc, http.StatusOK, `"` + resource + `":"7"`},
		{"no EPC of its node", writer, http.MethodPatch, own + "/status", `{"status": {"capacity": {"` + resource + `": null}}}`, http.StatusOK, ""},
		{"EPC of another node", writer, http.MethodPatch, other + "/status", epc, http.StatusForbidden,
			"the status of its own node only: this is node " + other + ", and its token is bound to " + own},
		{"with a token without a node", unbound, http.MethodPatch, own + "/status", epc, http.StatusForbidden, "its token is bound to none"},

		{"another resource", writer, http.MethodPatch, own + "/status", `{"status": {"capacity": {"` + enclave + `": "7"}}}`, http.StatusForbidden, onlyEPC},
		{"one more resource", writer, http.MethodPatch, own + "/status", `{"status": {"capacity": {"` + resource + `": "7", "example.com/other": "7"}}}`, http.StatusForbidden, onlyEPC},
		{"removal of another resource", writer, http.MethodPatch, own + "/status", `{"status": {"allocatable": {"memory": null}}}`, http.StatusForbidden, onlyEPC},
		{"no change of its node", writer, http.MethodPatch, own + "/status", `{}`, http.StatusOK, `"name":"` + own + `"`},
		{"the condition of its node", writer, strategic, own + "/status", condition("SGXEPCAvailable"), http.StatusOK, `"reason":"Tried"`},
		{"the condition of quotes of its node", writer, strategic, own + "/status", condition("SGXQuotesAvailable"), http.StatusOK, `"reason":"Tried"`},
		{"the condition of another node", writer, strategic, other + "/status", condition("SGXEPCAvailable"), http.StatusForbidden, "the status of its own node only"},
		{"another condition", writer, strategic, own + "/status", condition("Ready"), http.StatusForbidden, onlyEPC},
		{"a new condition", writer, strategic, own + "/status", condition("SGXEPCAvailableToo"), http.StatusForbidden, onlyEPC},
		{"no conditions", writer, http.MethodPatch, own + "/status", `{"status": {"conditions": []}}`, http.StatusForbidden, onlyEPC},
		{"an address", writer, http.MethodPatch, own + "/status", `{"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}`, http.StatusForbidden, onlyEPC},
		{"a new field of the status", writer, http.MethodPatch, own + "/status", `{"status": {"volumesInUse": ["v"]}}`, http.StatusForbidden, onlyEPC},
		{"a label", writer, http.MethodPatch, own + "/status", `{"metadata": {"labels": {"a": "b"}}}`, http.StatusForbidden, onlyEPC},
		{"removal of a label", writer, http.MethodPatch, own + "/status", `{"metadata": {"labels": null}}`, http.StatusForbidden, onlyEPC},
		{"an annotation", writer, http.MethodPatch, own + "/status", `{"metadata": {"annotations": {"a": "b"}}}`, http.StatusForbidden, onlyEPC},
		{"a finalizer", writer, http.MethodPatch, own + "/status", `{"metadata": {"finalizers": ["example.com/f"]}}`, http.StatusForbidden, onlyEPC},
		{"an owner", writer, http.MethodPatch, own + "/status", `{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]}}`, http.StatusForbidden, onlyEPC},

		// Forbidden by RBAC.
		{"the node itself", writer, http.MethodPatch, own, `{"spec": {"unschedulable": true}}`, http.StatusForbidden, "cannot patch resource"},
		{"reading", writer, http.MethodGet, own, "", http.StatusForbidden, "cannot get resource"},
		{"replacing", writer, http.MethodPut, own + "/status", `{"apiVersion": "v1", "kind": "Node"}`, http.StatusForbidden, "cannot update resource"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := tt.client.do(t, tt.method, "/api/v1/nodes/"+tt.path+"?dryRun=All", tt.patch)
			if status != tt.status || !strings.Contains(answer, tt.want) {
				t.Errorf("%d, want %d with %q: %s", status, tt.status, tt.want, answer)
			}
		})
	}
	event := func(kind, name, component string) string {
		return `{"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e2e-tried", "namespace": "default"}, "reason": "Tried", "type": "Normal",
			"involvedObject": {"apiVersion": "v1", "kind": "` + kind + `", "name": "` + name + `"}, "source": {"component": "` + component + `"}}`
	}
	for _, tt := range []struct {
		name         string
		client       apiClient
		method, path string
		body         string
		status       int
		want         string
	}{
		{"an event of its node", writer, http.MethodPost, "/api/v1/namespaces/default/events", event("Node", own, "sgx-node-resource"), http.StatusCreated, "Tried"},
		{"an event of another node", writer, http.MethodPost, "/api/v1/namespaces/default/events", event("Node", other, "sgx-node-resource"), http.StatusForbidden, "events about its own node only"},
		{"an event of a pod", writer, http.MethodPost, "/api/v1/namespaces/default/events", event("Pod", own, "sgx-node-resource"), http.StatusForbidden, "events about its own node only"},
		{"an event of another source", writer, http.MethodPost, "/api/v1/namespaces/default/events", event("Node", own, "kubelet"), http.StatusForbidden, "events about its own node only"},
		{"an event without a node's token", unbound, http.MethodPost, "/api/v1/namespaces/default/events", event("Node", own, "sgx-node-resource"), http.StatusForbidden, "events about its own node only"},
		{"an event elsewhere", writer, http.MethodPost, "/api/v1/namespaces/" + namespace + "/events", event("Node", own, "sgx-node-resource"), http.StatusForbidden, "cannot create resource"},
		{"the policy that adds the device", writer, http.MethodGet, "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies/sgx-enclave-with-epc", "", http.StatusOK, "sgx-enclave-with-epc"},
		{"the policy that refuses pods without it", writer, http.MethodGet, "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/sgx-enclave-with-epc", "", http.StatusOK, "sgx-enclave-with-epc"},
		{"another policy", writer, http.MethodGet, "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies/other", "", http.StatusForbidden, "cannot get resource"},
		{"all policies", writer, http.MethodGet, "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies", "", http.StatusForbidden, "cannot list resource"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.path
			if tt.method != http.MethodGet {
				path += "?dryRun=All"
			}
			if status, answer := tt.client.do(t, tt.method, path, tt.body); status != tt.status || !strings.Contains(answer, tt.want) {
				t.Errorf("%d, want %d with %q: %s", status, tt.status, tt.want, answer)
			}
		})
	}
	t.Run("other users are not affected", func(t *testing.T) {
		kubectl(t, "patch", "node", other, "--subresource=status", "--dry-run=server", "--type=merge", "--patch",
			`{"metadata": {"labels": {"a": "b"}}, "status": {"capacity": {"example.com/other": "7"}}}`)
	})
}

// TestUnguarded checks that sgx-node-resource writes nothing while no policy restricts it.
func TestUnguarded(t *testing.T) {
	const binding = "sgx-node-resource"
	writer := newAPIClient(t, "--bound-object-kind=Pod", "--bound-object-name="+daemonPod(t, "sgx-node-resource"))
	before := chartValues(t)
	t.Cleanup(func() {
		install(t, before) // creates the binding again
		waitRollout(t, "sgx-node-resource")
	})
	kubectl(t, "delete", "validatingadmissionpolicybinding", binding)
	eventually(t, "the API server no longer applies the policy", func() bool {
		status, _ := writer.do(t, http.MethodPatch, "/api/v1/nodes/"+nodeName(t)+"/status?dryRun=All", `{"status": {"capacity": {"example.com/other": "7"}}}`)
		return status == http.StatusOK
	})
	kubectl(t, "-n", namespace, "delete", "pod", "-l", "app.kubernetes.io/name=sgx-node-resource") // the next one checks at its start
	eventually(t, "sgx-node-resource reports that nothing restricts it", func() bool {
		log, _ := try(t, "", "kubectl", "-n", namespace, "logs", "-l", "app.kubernetes.io/name=sgx-node-resource", "--tail=-1")
		return strings.Contains(log, `"level":"ERROR","msg":"not restricted by an admission policy, writing nothing"`)
	})
	if ready := kubectl(t, "-n", namespace, "get", "pods", "-l", "app.kubernetes.io/name=sgx-node-resource", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`); strings.Contains(ready, "True") {
		t.Errorf("sgx-node-resource is ready: %s", ready)
	}
}

// TestDevicePolicy checks who is refused the devices.
func TestDevicePolicy(t *testing.T) {
	const (
		provision   = "sgx.intel.com/provision"
		quoteHelper = "confcom.github.io/quote-helper"
	)
	loadDCAPImage(t)
	upgrade(t, "platform=dcap", "dcap.simulatedHardware=true", "enclave.requireEPC=true", "provision.enabled=true")
	const (
		noHelper    = "pods of the namespace default may not have " + quoteHelper
		noEPC       = "needs a limit on " + resource + " as well, and may have the device once"
		noProvision = "pods of the namespace default may not have " + provision
	)
	for _, tt := range []struct {
		name, namespace string
		limits          limits
		err             string
	}{
		{"EPC", "default", limits{resource: "1"}, ""},
		{"EPC and device", "default", limits{resource: "1", enclave: "1"}, ""},
		{"nothing", "default", nil, ""},
		{"no device", "default", limits{enclave: "0"}, ""},
		{"device", "default", limits{enclave: "1"}, noEPC},
		{"device, no EPC", "default", limits{enclave: "1", resource: "0Ki"}, noEPC},
		{"device several times", "default", limits{resource: "1", enclave: "256"}, noEPC},
		{"provision device", "default", limits{resource: "1", provision: "1"}, noProvision},
		{"provision device alone", "default", limits{provision: "1"}, noProvision},
		{"devices of the quote helper", "default", limits{quoteHelper: "1"}, noHelper},
		{"devices of the quote helper with EPC", "default", limits{resource: "1", quoteHelper: "1"}, noHelper},
		{"devices of the quote helper in the namespace of the release", namespace, limits{quoteHelper: "1"}, ""},
		{"provision device in the namespace of the release", namespace, limits{resource: "1", provision: "1"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			containers := podSpec("x", tt.limits)["containers"]
			for _, spec := range []object{
				{"containers": containers},
				{"containers": podSpec("x", nil)["containers"], "initContainers": []any{object{"name": "init", "image": "x", "resources": object{"limits": tt.limits}}}},
			} {
				manifest, err := json.Marshal(object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "e2e-policy", "namespace": tt.namespace}, "spec": spec})
				if err != nil {
					t.Fatal(err)
				}
				_, err = try(t, string(manifest), "kubectl", "create", "--dry-run=server", "-f", "-")
				if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
			}
		})
	}
}

// eventually waits until what is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute, it is not true that %s", what)
		}
	}
}

// apiClient sends requests to the API server as the service account of
// sgx-node-resource.
type apiClient struct {
	http   *http.Client
	server string
	token  string
}

func newAPIClient(t *testing.T, tokenOptions ...string) apiClient {
	t.Helper()
	var cluster struct {
		Server string
		CA     []byte `json:"certificate-authority-data"`
	}
	if err := json.Unmarshal([]byte(kubectl(t, "config", "view", "--minify", "--raw", "-o", "jsonpath={.clusters[0].cluster}")), &cluster); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cluster.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	token := kubectl(t, append([]string{"-n", namespace, "create", "token", "sgx-node-resource"}, tokenOptions...)...)
	return apiClient{http: &http.Client{Transport: transport}, server: cluster.Server, token: strings.TrimSpace(token)}
}

// strategic stands for the method PATCH with a strategic merge patch.
const strategic = "PATCH strategic"

// do sends a request and returns the HTTP status and the body, without spaces between
// JSON tokens.
func (c apiClient) do(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	verb, _, _ := strings.Cut(method, " ")
	request, err := http.NewRequestWithContext(t.Context(), verb, c.server+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	switch method {
	case http.MethodPatch:
		request.Header.Set("Content-Type", "application/merge-patch+json")
	case strategic:
		request.Header.Set("Content-Type", "application/strategic-merge-patch+json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return response.StatusCode, compact.String()
}
