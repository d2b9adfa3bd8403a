package chart

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

// cluster runs an API server that knows the kinds of the chart and has these objects, by the
// path of the request. It returns a kubeconfig for it.
func cluster(t *testing.T, objects map[string]string) string {
	t.Helper()
	used := []string{"", "admissionregistration.k8s.io", "apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"}
	groups := make(map[string]*metav1.APIGroup)
	resources := make(map[string]*metav1.APIResourceList)
	for kind := range scheme.Scheme.AllKnownTypes() {
		version := kind.GroupVersion().String()
		if kind.Version != "v1" || !slices.Contains(used, kind.Group) {
			continue
		}
		if resources[version] == nil {
			resources[version] = &metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: version}
			served := metav1.GroupVersionForDiscovery{GroupVersion: version, Version: kind.Version}
			groups[kind.Group] = &metav1.APIGroup{Name: kind.Group, Versions: []metav1.GroupVersionForDiscovery{served}, PreferredVersion: served}
		}
		plural, singular := meta.UnsafeGuessKindToResource(kind)
		resources[version].APIResources = append(resources[version].APIResources, metav1.APIResource{
			Name: plural.Resource, SingularName: singular.Resource, Kind: kind.Kind, Namespaced: kind.Kind != "Node", Verbs: metav1.Verbs{"get", "list"},
		})
	}
	delete(groups, "")
	answers := map[string]any{
		"/version": map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.2"},
		"/api":     metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}},
	}
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		list.Groups = append(list.Groups, *groups[name])
	}
	answers["/apis"] = list
	for version, kinds := range resources {
		path := "/apis/" + version
		if version == "v1" {
			path = "/api/v1"
		}
		answers[path] = kinds
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if text, found := objects[r.URL.Path]; found {
			_, _ = w.Write([]byte(text))
			return
		}
		answer, found := answers[r.URL.Path]
		if !found {
			w.WriteHeader(http.StatusNotFound)
			answer = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := "{apiVersion: v1, kind: Config, clusters: [{name: a, cluster: {server: \"" + server.URL + "\"}}], contexts: [{name: a, context: {cluster: a}}], current-context: a}"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withNotes returns a copy of the chart that renders its notes as an object.
func withNotes(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	notes := filepath.Join(dir, "templates", "NOTES.txt")
	text, err := os.ReadFile(notes)
	if err != nil {
		t.Fatal(err)
	}
	object := `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data": {"notes": {{ include "notes" . | toJson }}}}`
	for name, content := range map[string]string{"_notes.tpl": `{{ define "notes" }}` + string(text) + `{{ end }}`, "notes.yaml": object} {
		if err := os.WriteFile(filepath.Join(dir, "templates", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(notes); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLeftovers checks that what an installation with other values has left on nodes is
// removed by the next upgrade or named in its notes: 'helm rollback' runs no job.
func TestLeftovers(t *testing.T) {
	node := func(labels, annotations, condition string) string {
		return `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","labels":{` + labels + `},"annotations":{` + annotations + `}},"status":{"conditions":[{"type":"Ready","status":"True"}` + condition + `]}}`
	}
	const (
		without    = "epc.writer=none,epc.advertise=devices"
		label      = `"confcom.github.io/sgx":"true"`
		reason     = `"confcom.github.io/sgx-reason":"no SGX"`
		epc        = `,{"type":"SGXEPCAvailable","status":"True"}`
		quotes     = `,{"type":"SGXQuotesAvailable","status":"True"}`
		named      = "conditions of confcom, which nothing updates with\nepc.writer=none: n1. To remove them:"
		daemonSets = "/apis/apps/v1/daemonsets"
		labeller   = "/apis/apps/v1/namespaces/confcom-system/daemonsets/sgx-node-labeller"
	)
	dir := withNotes(t)
	for _, tt := range []struct {
		name     string
		node     string
		labeller bool // runs still
		values   string
		unlabels string // the hook of the job that removes labels
		named    bool   // in the notes
	}{
		{"nothing", node("", "", ""), false, without, "", false},
		{"the labeller is removed", node(label, reason, ""), true, "epc.writer=api", "post-install,post-upgrade", false},
		{"a label is left", node(label, "", ""), false, "epc.writer=api", "post-install,post-upgrade", false},
		{"a reason is left", node("", reason, ""), false, "epc.writer=api", "post-install,post-upgrade", false},
		{"labels are kept up to date", node(label, reason, ""), false, "nodes=label", "pre-delete", false},
		{"a condition is left", node("", "", epc), false, without, "", true},
		{"a condition about quotes is left", node("", "", quotes), false, without, "", true},
		{"both are left", node("", "", epc+quotes), false, without, "", true},
		{"conditions are kept up to date", node("", "", epc+quotes), false, "epc.writer=api", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			objects := map[string]string{
				"/api/v1/nodes": `{"kind":"NodeList","apiVersion":"v1","metadata":{},"items":[` + tt.node + `]}`,
				daemonSets:      `{"kind":"DaemonSetList","apiVersion":"apps/v1","metadata":{},"items":[]}`,
			}
			if tt.labeller {
				objects[labeller] = `{"kind":"DaemonSet","apiVersion":"apps/v1","metadata":{"name":"sgx-node-labeller","namespace":"confcom-system"}}`
			}
			text, err := helm(t, "", "template", "confcom", dir, "--namespace", "confcom-system", "--dry-run=server", "--kubeconfig", cluster(t, objects),
				"--disable-openapi-validation", "--set", "platform=simulated,"+tt.values)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if _, job, found := strings.Cut(text, "kind: Job\nmetadata:\n  name: confcom-unlabel\n"); found {
				_, hook, _ := strings.Cut(job, "helm.sh/hook: ")
				got, _, _ = strings.Cut(hook, "\n")
			}
			if got != tt.unlabels {
				t.Errorf("labels are removed by the hook %q, want %q", got, tt.unlabels)
			}
			quoted, err := json.Marshal(named)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(text, strings.Trim(string(quoted), `"`)); got != tt.named {
				t.Errorf("the notes name the node: %t, want %t", got, tt.named)
			}
		})
	}
}
