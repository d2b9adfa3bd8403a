package installation

import (
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const resource = "kubernetes.azure.com/sgx_epc_mem_in_MiB"

// serve runs an API server that has these objects, by path, and returns what a pod in the
// namespace "system" knows of it.
func serve(t *testing.T, objects map[string]string) (*API, string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if next := r.URL.Query().Get("continue"); next != "" {
			path += "?" + next
		}
		text, found := objects[path]
		switch {
		case r.Header.Get("Authorization") != "Bearer secret":
			w.WriteHeader(http.StatusUnauthorized)
		case text == "forbidden":
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"message": "confcom-test may not do that"}`))
		case !found:
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = w.Write([]byte(text))
		}
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"token":     []byte("secret\n"),
		"namespace": []byte("system"),
		"ca.crt":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	api, namespace, err := InCluster(dir, func(name string) string {
		return map[string]string{"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	return api, namespace
}

// TestExamine checks what is seen of each object in each state, and what to do about it.
func TestExamine(t *testing.T) {
	const (
		daemonSets = "/apis/apps/v1/namespaces/system/daemonsets/"
		policies   = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies/"
		bindings   = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/"
		pods       = "/api/v1/namespaces/system/pods"
		nodes      = "/api/v1/nodes"
	)
	withEPC := func(text string) string {
		return `{"metadata":{"name":"a"},"status":{"allocatable":{"` + resource + `":"` + text + `"}}}`
	}
	for _, tt := range []struct {
		name    string
		object  string // "" for the EPC of nodes
		objects map[string]string
		ok      bool
		want    string
	}{
		{"ready", "DaemonSet/a", map[string]string{daemonSets + "a": `{"metadata":{"generation":2},"status":{"observedGeneration":2,"desiredNumberScheduled":3,"numberReady":3,"updatedNumberScheduled":3}}`}, true, "3 of 3 pods are ready"},
		{"not ready", "DaemonSet/a", map[string]string{pods: `{}`, daemonSets + "a": `{"status":{"desiredNumberScheduled":3,"numberReady":1,"updatedNumberScheduled":3}}`}, false, "1 of 3 pods are ready -> this shows more: kubectl -n system describe pods -l app.kubernetes.io/name=a"},
		{"not up to date", "DaemonSet/a", map[string]string{pods: `{}`, daemonSets + "a": `{"status":{"desiredNumberScheduled":3,"numberReady":3,"updatedNumberScheduled":2}}`}, false, "2 of 3 pods are up to date"},
		{"not seen", "DaemonSet/a", map[string]string{daemonSets + "a": `{"metadata":{"generation":2},"status":{"observedGeneration":1,"desiredNumberScheduled":3,"numberReady":3,"updatedNumberScheduled":3}}`}, false, "not seen the last change"},
		{"no node", "DaemonSet/a", map[string]string{daemonSets + "a": `{"status":{}}`}, false, "DESIRED is 0: Kubernetes finds no node on which its pods may run -> the chart's value nodes is 'sgx'"},
		{"missing", "DaemonSet/a", nil, false, "does not exist -> restore it with 'helm upgrade'"},
		{"forbidden", "DaemonSet/a", map[string]string{daemonSets + "a": "forbidden"}, false, "403 Forbidden: confcom-test may not do that"},
		{"not JSON", "DaemonSet/a", map[string]string{daemonSets + "a": "<html>"}, false, "ask the API server for " + daemonSets + "a: invalid character"},
		{"a Deployment", "Deployment/a", map[string]string{"/apis/apps/v1/namespaces/system/deployments/a": `{"spec":{"replicas":2},"status":{"readyReplicas":2,"updatedReplicas":2}}`}, true, "2 of 2"},
		{"a Deployment that is scaled away", "Deployment/a", map[string]string{"/apis/apps/v1/namespaces/system/deployments/a": `{"spec":{"replicas":0},"status":{}}`}, false, "it has no replicas"},
		{"a policy", "MutatingAdmissionPolicy/a", map[string]string{policies + "a": `{}`, bindings + "a": `{"spec":{"policyName":"a"}}`}, true, "in force"},
		{"no policy", "MutatingAdmissionPolicy/a", map[string]string{bindings + "a": `{"spec":{"policyName":"a"}}`}, false, "the MutatingAdmissionPolicy does not exist"},
		{"a policy without a binding", "MutatingAdmissionPolicy/a", map[string]string{policies + "a": `{}`}, false, "the MutatingAdmissionPolicyBinding does not exist"},
		{"a binding of another policy", "MutatingAdmissionPolicy/a", map[string]string{policies + "a": `{}`, bindings + "a": `{"spec":{"policyName":"b"}}`}, false, `the MutatingAdmissionPolicyBinding is for the policy "b"`},
		{"EPC", "", map[string]string{nodes: `{"metadata":{"continue":"next"},"items":[` + withEPC("64k") + `,` + withEPC("64") + `]}`, nodes + "?next": `{"items":[{"metadata":{"name":"b"}},` + withEPC("1Ki") + `]}`},
			true, "3 of 4 nodes advertise 65088 MiB in all"},
		{"no nodes", "", map[string]string{nodes: `{}`}, false, "none of 0 nodes advertises " + resource},
		{"no EPC", "", map[string]string{nodes: `{"items":[` + withEPC("0") + `]}`}, false, "none of 1 nodes advertises"},
		{"no EPC, with the reason", "", map[string]string{nodes: `{"items":[{"metadata":{"name":"b"},"status":{"conditions":[{"type":"SGXEPCAvailable","status":"False","reason":"NoEPC","message":"no SGX"}]}}]}`}, false, "none of 1 nodes advertises " + resource + ": b: no SGX -> "},
		{"EPC in half", "", map[string]string{nodes: `{"items":[` + withEPC("1500m") + `]}`}, false, `"1500m" is not a number of MiB`},
		{"an SGX node without EPC", "", map[string]string{nodes: `{"items":[` + withEPC("1") + `,{"metadata":{"name":"b","labels":{"sgx.intel.com/capable":"true"}}}]}`}, false, "1 of 2 nodes advertise " + resource + ", and these should: b: it has the label of an SGX node"},
		{"a node that withholds its EPC", "", map[string]string{nodes: `{"items":[` + withEPC("1") + `,{"metadata":{"name":"b"},"status":{"conditions":[{"type":"SGXEPCAvailable","status":"False","reason":"PolicyMissing","message":"a policy is missing"}]}}]}`}, false, "these should: b: a policy is missing"},
		{"a node without SGX", "", map[string]string{nodes: `{"items":[` + withEPC("1") + `,{"metadata":{"name":"b"},"status":{"conditions":[{"type":"SGXEPCAvailable","status":"False","reason":"NoEPC","message":"no SGX"}]}}]}`}, true, "1 of 2 nodes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api, namespace := serve(t, tt.objects)
			i := Installation{API: api, Namespace: namespace, Resource: resource}
			name := "EPC"
			i.Objects = []Object{conditionsWriter}
			if tt.object != "" {
				o, err := ParseObject(tt.object)
				if err != nil {
					t.Fatal(err)
				}
				i.Objects, name = []Object{o}, o.Name
			}
			checks := i.Examine(t.Context())
			c := checks[slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })]
			if got := c.Seen + " -> " + c.Remedy; c.OK != tt.ok || (c.Remedy == "") != tt.ok || !strings.Contains(got, tt.want) {
				t.Errorf("%v %s, want %s", c.OK, got, tt.want)
			}
			if Works([]Check{{OK: true}, c}) != tt.ok {
				t.Error("the verdict on all checks is another")
			}
		})
	}
}

// What an installation with other values has written is named, unless this one keeps it up
// to date.
func TestLeftovers(t *testing.T) {
	node := func(name, labels, conditions string) string {
		return `{"metadata":{"name":"` + name + `",` + labels + `},"status":{"allocatable":{"` + resource + `":"64"},"conditions":[` + conditions + `]}}`
	}
	plain := node("plain", `"labels":{"sgx.intel.com/capable":"true"}`, `{"type":"Ready","status":"True"}`)
	labelled := node("labelled", `"labels":{"confcom.github.io/sgx":"true"}`, "")
	explained := node("explained", `"annotations":{"confcom.github.io/sgx-reason":"no SGX"}`, "")
	quotes := node("quotes", `"labels":{}`, `{"type":"SGXQuotesAvailable","status":"True"}`)
	stale := strings.Replace(node("stale", `"labels":{}`, `{"type":"SGXEPCAvailable","status":"False","message":"a policy is missing"}`), `"64"`, `"0"`, 1)
	many := strings.Repeat(quotes+",", 6) + quotes
	for _, tt := range []struct {
		name    string
		nodes   string
		objects []Object
		want    []string
	}{
		{"nothing", plain, nil, nil},
		{"kept up to date", labelled + "," + explained + "," + quotes, []Object{conditionsWriter, labeller}, nil},
		{"labels", plain + "," + labelled + "," + explained, []Object{conditionsWriter}, []string{"label: 2 nodes have the label confcom.github.io/sgx or its reason, which nothing keeps up to date: labelled, explained -> the next 'helm upgrade' removes them"}},
		{"conditions", plain + "," + quotes + "," + stale, []Object{labeller}, []string{"conditions: 2 nodes have the conditions SGXEPCAvailable or SGXQuotesAvailable, which nothing keeps up to date: quotes, stale -> remove them from each of these nodes: kubectl patch node NODE "}},
		{"both", labelled + "," + quotes, nil, []string{"conditions: 1 nodes have", "label: 1 nodes have"}},
		{"many", many, nil, []string{"conditions: 7 nodes have the conditions SGXEPCAvailable or SGXQuotesAvailable, which nothing keeps up to date: quotes, quotes, quotes, quotes, quotes, and 2 more -> "}},
	} {
		api, namespace := serve(t, map[string]string{"/api/v1/nodes": `{"items":[` + tt.nodes + `]}`})
		var left []string
		for _, c := range (Installation{API: api, Namespace: namespace, Resource: resource, Objects: tt.objects}).Examine(t.Context())[len(tt.objects):] {
			if c.Name == "EPC" {
				if !c.OK {
					t.Errorf("%s: %+v", tt.name, c)
				}
				continue
			}
			left = append(left, c.Name+": "+c.Seen+" -> "+c.Remedy)
			if c.OK {
				t.Errorf("%s: %s is OK", tt.name, c.Name)
			}
		}
		if len(left) != len(tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, left, tt.want)
			continue
		}
		for i, want := range tt.want {
			if !strings.HasPrefix(left[i], want) {
				t.Errorf("%s: %s, want %s", tt.name, left[i], want)
			}
		}
	}
}

func TestParseObject(t *testing.T) {
	for _, text := range []string{"", "DaemonSet", "DaemonSet/", "Secret/a", "DaemonSet/a/b", "DaemonSet/..%2f"} {
		if o, err := ParseObject(text); err == nil {
			t.Errorf("%q is read as %v", text, o)
		}
	}
}

// TestNotInCluster checks the errors outside of a pod, and without a service account.
func TestNotInCluster(t *testing.T) {
	for _, value := range []string{"", "192.0.2.1"} {
		if _, _, err := InCluster(t.TempDir(), func(string) string { return value }); err == nil || !strings.Contains(err.Error(), "helm test") {
			t.Errorf("with the address %q: %v", value, err)
		}
	}
}

// TestNoAnswer checks that an API server that is away is a problem, not a missing object.
func TestNoAnswer(t *testing.T) {
	api, namespace := serve(t, nil)
	api.base = "https://127.0.0.1:1"
	for _, c := range (Installation{API: api, Namespace: namespace, Objects: []Object{{"DaemonSet", "a"}}}).Examine(t.Context()) {
		if c.OK || !strings.HasPrefix(c.Seen, "ask the API server: ") {
			t.Errorf("%+v", c)
		}
	}
}
