package installation

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestCause checks that the reason why pods are not ready is named, with what to do.
func TestCause(t *testing.T) {
	const (
		daemonSet = "/apis/apps/v1/namespaces/system/daemonsets/a"
		pods      = "/api/v1/namespaces/system/pods"
		events    = "/api/v1/namespaces/system/events"
		describe  = "kubectl -n system describe pods -l app.kubernetes.io/name=a"
		waiting   = `"phase":"Pending","containerStatuses":[{"state":{"waiting":`
		restricts = `violates PodSecurity \"baseline:latest\": hostPath volumes`
	)
	state := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/statusz" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"daemon":"sgx-quote-helper","ready":false,"conditions":[{"name":"running","met":true},{"name":"socket","met":false,"reason":"not reached yet"},`+
			`{"name":"quotes","met":false,"reason":"no certificates","advice":"register the platform"}]}`)
	}))
	t.Cleanup(state.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	t.Cleanup(page.Close)

	pod := func(name, node, status string) string {
		return `{"metadata":{"uid":"u","name":"` + name + `"},"spec":{"nodeName":"` + node + `"},"status":{` + status + `}}`
	}
	ended := func(pod string) string {
		return strings.Replace(pod, `"state":{"running":{}}`, `"state":{"running":{}},"lastState":{"terminated":{"exitCode":255,"reason":"Unknown","message":"earlier"}}`, 1)
	}
	running := func(address string) string {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		return `{"metadata":{"name":"a-1"},"spec":{"nodeName":"n","containers":[{"ports":[{"name":"verify","containerPort":1},{"name":"http","containerPort":` + port + `}]}]},` +
			`"status":{"podIP":"127.0.0.1","phase":"Running","conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"state":{"running":{}}}]}}`
	}
	const image = `{"reason":"ImagePullBackOff","message":"Back-off pulling image \"example/a\": not found"}}}]`
	for _, tt := range []struct {
		name    string
		pods    []string
		events  string // those of the API server, or a refusal
		want    []string
		ready   int
		updated int
		nothing string
	}{
		{name: "an image", pods: []string{pod("a-1", "n", waiting+image)},
			want: []string{`0 of 1 pods are ready: a-1 on n: ImagePullBackOff: Back-off pulling image "example/a": not found -> push the image`}},
		{name: "an update", pods: []string{pod("a-0", "n", `"conditions":[{"type":"Ready","status":"True"}]`), pod("a-1", "n", waiting+image)}, ready: 1,
			want: []string{"0 of 1 pods are up to date: an update is under way, or stuck: a-1 on n: ImagePullBackOff"}, nothing: "a-0"},
		{name: "a volume", pods: []string{pod("a-1", "n", waiting+`{"reason":"ContainerCreating"}}}]`)},
			events: `{"items":[{"reason":"FailedMount","message":"older","lastTimestamp":"2026-11-26T10:00:00Z"},{"reason":"FailedMount","message":"/x is not a directory\n","lastTimestamp":"2026-11-26T10:00:02Z"},{"reason":"Other","message":"oldest","eventTime":"2026-11-26T09:00:02.000001Z"}]}`,
			want:   []string{"a-1 on n: FailedMount: /x is not a directory -> this shows more: " + describe}},
		{name: "a directory", pods: []string{pod("a-1", "n", waiting+`{"reason":"ContainerCreating"}}}]`)},
			events: `{"items":[{"reason":"FailedMount","message":"MountVolume.SetUp failed for volume \"device-plugins\" : hostPath type check failed: /x is not a directory"}]}`,
			want:   []string{"hostPath type check failed: /x is not a directory -> the node does not have this directory", "devicePluginDir"}},
		{name: "no event yet", pods: []string{pod("a-1", "n", waiting+`{"reason":"ContainerCreating"}}}]`)}, events: `{}`,
			want: []string{"a-1 on n: ContainerCreating -> this shows more: " + describe}},
		{name: "a configuration", pods: []string{pod("a-1", "n", waiting+`{"reason":"CreateContainerConfigError","message":"secret \"x\" not found"}}}]`)},
			want: []string{`a-1 on n: CreateContainerConfigError: secret "x" not found`}},
		{name: "a crash", pods: []string{pod("a-1", "n", waiting+`{"reason":"CrashLoopBackOff","message":"back-off 10s"}},"lastState":{"terminated":{"exitCode":2,"reason":"Error","message":"unknown flag: --x\n"}}}]`)},
			want: []string{"a-1 on n: it ended with exit code 2 (Error): unknown flag: --x -> this shows more: kubectl -n system logs --previous a-1"}},
		{name: "a daemon's last line", pods: []string{pod("a-1", "n", waiting+`{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":1,"reason":"Error","message":"{\"msg\":\"starting\"}\n{\"level\":\"ERROR\",\"msg\":\"exiting on error\",\"error\":\"it is a directory\"}\n"}}}]`)},
			want: []string{"a-1 on n: it ended with exit code 1 (Error): exiting on error: it is a directory -> this"}, nothing: "starting"},
		{name: "no room", pods: []string{pod("a-1", "", `"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"0/1 nodes are available: 1 Insufficient cpu."}]`)},
			want: []string{"a-1: not scheduled: 0/1 nodes are available: 1 Insufficient cpu. -> this shows more: " + describe}},
		{name: "refused by the kubelet", pods: []string{pod("a-1", "n", `"phase":"Failed","reason":"UnexpectedAdmissionError","message":"no healthy devices"`)},
			want: []string{"a-1 on n: UnexpectedAdmissionError: no healthy devices"}},
		{name: "a daemon", pods: []string{running(state.Listener.Addr().String())},
			want: []string{"a-1 on n: socket: not reached yet; quotes: no certificates: register the platform -> this shows more: kubectl -n system logs a-1"}, nothing: "running"},
		{name: "a daemon that has ended before, as when the node was booted", pods: []string{ended(running(state.Listener.Addr().String()))},
			want: []string{"a-1 on n: socket: not reached yet; quotes: no certificates: register the platform; before that, it ended with exit code 255 (Unknown): earlier -> this shows more: kubectl -n system logs a-1"}},
		{name: "an image, beside a container that was injected", pods: []string{pod("a-1", "n", `"podIP":"127.0.0.1","phase":"Pending","containerStatuses":[{"state":{"running":{}},"lastState":{"terminated":{"reason":"Error"}}},{"state":{"waiting":`+image)},
			want: []string{"a-1 on n: ImagePullBackOff"}, nothing: "ended"},
		{name: "a daemon that ends again and again", pods: []string{ended(running(page.Listener.Addr().String()))},
			want: []string{"a-1 on n: it ended with exit code 255 (Unknown): earlier -> this shows more: kubectl -n system logs --previous a-1"}},
		{name: "no daemon", pods: []string{running(page.Listener.Addr().String())},
			want: []string{"a-1 on n: it runs, but does not report its state: http://127.0.0.1:", "invalid character '<'"}},
		{name: "the namespace", events: `{"items":[{"reason":"FailedCreate","message":"Error creating: pods \"a-\" is forbidden: ` + restricts + `"}]}`,
			want: []string{"0 of 1 pods are ready: FailedCreate: Error creating", "-> the daemons use directories of their node: kubectl label --overwrite namespace system pod-security", "kubectl -n system rollout restart daemonset a"}},
		{name: "a quota", events: `{"items":[{"reason":"FailedCreate","message":"exceeded quota"}]}`,
			want: []string{"0 of 1 pods are ready: FailedCreate: exceeded quota -> this shows more: kubectl -n system describe daemonset a"}},
		{name: "the same twice", pods: []string{pod("a-1", "n", waiting+image), pod("a-2", "m", waiting+image), pod("a-3", "o", waiting+`{"reason":"ContainerCreating"}}}]`)}, events: `{}`,
			want: []string{"a-1 on n: ImagePullBackOff", "; a-3 on o: ContainerCreating -> push"}, nothing: "a-2"},
		{name: "no permission", events: "forbidden", pods: []string{pod("a-1", "n", waiting+`{"reason":"ContainerCreating"}}}]`)},
			want: []string{"a-1 on n: ContainerCreating"}},
		{name: "nothing known", events: `{}`, want: []string{"0 of 1 pods are ready -> this shows more: " + describe}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api, namespace := serve(t, map[string]string{
				daemonSet: fmt.Sprintf(`{"status":{"desiredNumberScheduled":1,"numberReady":%d,"updatedNumberScheduled":%d}}`, tt.ready, tt.updated),
				pods:      `{"items":[` + strings.Join(tt.pods, ",") + `]}`,
				events:    tt.events,
			})
			c := (Installation{API: api, Namespace: namespace, Objects: []Object{{"DaemonSet", "a"}}}).Examine(t.Context())[0]
			got := c.Seen + " -> " + c.Remedy
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
			if tt.nothing != "" && strings.Contains(got, tt.nothing) {
				t.Errorf("%q is in %s", tt.nothing, got)
			}
			if c.OK {
				t.Error("all is well")
			}
		})
	}
}

// TestMayNotListPods checks that a test without the permission says so, with what an
// administrator can ask.
func TestMayNotListPods(t *testing.T) {
	api, namespace := serve(t, map[string]string{
		"/apis/apps/v1/namespaces/system/daemonsets/a": `{"status":{"desiredNumberScheduled":1}}`,
		"/api/v1/namespaces/system/pods":               "forbidden",
	})
	c := (Installation{API: api, Namespace: namespace, Objects: []Object{{"DaemonSet", "a"}}}).Examine(t.Context())[0]
	if !strings.Contains(c.Seen, "0 of 1 pods are ready: ask the API server for") || !strings.Contains(c.Seen, "confcom-test may not do that") || !strings.Contains(c.Remedy, "describe pods") {
		t.Errorf("%+v", c)
	}
}
