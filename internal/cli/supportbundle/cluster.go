package supportbundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// kubectlTimeout bounds a call of kubectl.
const kubectlTimeout = 20 * time.Second

// chart selects what belongs to the chart.
const chart = "app.kubernetes.io/part-of=confcom"

// cluster returns the parts that kubectl gets.
//
// kubectl is called instead of linking its libraries: they would double what users
// download, and it knows every way to authenticate.
func (s settings) cluster(ctx context.Context) []part {
	if s.kubectl == "" {
		return nil
	}
	own := func(args ...string) func(context.Context) ([]byte, error) {
		return s.call(append([]string{"--namespace=" + s.namespace}, args...)...)
	}
	// If the API server does not answer, each call would wait for it.
	versions, err := s.call("version")(ctx)
	parts := []part{{"cluster/version.txt", "the versions of kubectl and the API server", "", func(context.Context) ([]byte, error) { return versions, err }}}
	if err != nil {
		return parts
	}
	parts = append(parts, []part{
		{"cluster/nodes.txt", "the nodes", "names of nodes", s.call("get", "nodes", "--output=custom-columns=NAME:.metadata.name,KUBELET:.status.nodeInfo.kubeletVersion,RUNTIME:.status.nodeInfo.containerRuntimeVersion,KERNEL:.status.nodeInfo.kernelVersion,OS:.status.nodeInfo.osImage,ALLOCATABLE:.status.allocatable")},
		{"cluster/conditions.txt", "the conditions of the nodes", "names of nodes", s.call("get", "nodes", "--output=jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{range .status.conditions[*]}  {.type}={.status} {.reason}: {.message}{\"\\n\"}{end}{end}")},
		{"cluster/pods.txt", "the pods of the chart", "names of nodes", own("get", "pods", "--output=wide")},
		{"cluster/objects.yaml", "the chart's DaemonSets and Deployments, as they are in force", "names of registries", own("get", "daemonsets,deployments", "--selector="+chart, "--output=yaml")},
		{"cluster/descriptions.txt", "descriptions of the chart's pods", "names of nodes, addresses", own("describe", "pods", "--selector="+chart)},
		{"cluster/events.txt", "events in the namespace of the chart", "names of nodes", own("get", "events", "--sort-by=.lastTimestamp")},
		{"cluster/node-events.txt", "events of nodes", "names of nodes", s.call("--namespace=default", "get", "events", "--field-selector=involvedObject.kind=Node")},
		{"cluster/refused-pods.txt", "pods that their kubelet has refused (UnexpectedAdmissionError), with what owns them", "names of pods and nodes", ifAnyLine(s.call("get", "pods", "--all-namespaces", "--field-selector=status.phase=Failed", "--output=jsonpath="+refusedPods))},
		{"cluster/policies.txt", "the chart's admission policies", "", s.call("get", "validatingadmissionpolicies,mutatingadmissionpolicies", "--selector=app.kubernetes.io/managed-by=Helm")},
	}...)
	names, err := own("get", "pods", "--selector="+chart, "--output=jsonpath={.items[*].metadata.name}")(ctx)
	if err != nil {
		return append(parts, part{"cluster/pods", "what the pods report", "", func(context.Context) ([]byte, error) { return nil, err }})
	}
	for name := range strings.FieldsSeq(string(names)) {
		proxy := "/api/v1/namespaces/" + s.namespace + "/pods/" + name + "/proxy/" // its first port, whatever httpPort is
		parts = append(parts,
			part{"cluster/" + name + ".log", "its log", "names of pods, enclaves and addresses", own("logs", name, "--all-containers", "--timestamps", "--tail=20000")},
			part{"cluster/" + name + ".previous.log", "its log before it restarted", "names of pods, enclaves and addresses", ifAny(own("logs", name, "--all-containers", "--timestamps", "--tail=20000", "--previous"))},
			part{"cluster/" + name + ".statusz.json", "its conditions", "addresses of services", s.call("get", "--raw", proxy+"statusz")},
			part{"cluster/" + name + ".metrics.txt", "its metrics", "names of pods with EPC", s.call("get", "--raw", proxy+"metrics")},
		)
	}
	return parts
}

// refusedPods prints a line for each pod that its kubelet has refused. A kubelet that starts
// refuses pods with devices until the device plugin has registered.
const refusedPods = `{range .items[?(@.status.reason=="UnexpectedAdmissionError")]}{.metadata.namespace} {.metadata.name} {.spec.nodeName} {.metadata.ownerReferences[*].kind}: {.status.message}{"\n"}{end}`

// ifAnyLine returns a function that gets a list, which need not exist.
func ifAnyLine(get func(context.Context) ([]byte, error)) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		data, err := get(ctx)
		if err == nil && len(bytes.TrimSpace(data)) == 0 {
			return nil, errNone
		}
		return data, err
	}
}

// ifAny returns a function that gets the former log of a container, of which there is none
// if it has not restarted.
func ifAny(get func(context.Context) ([]byte, error)) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		data, err := get(ctx)
		if err != nil && strings.Contains(err.Error(), "previous terminated container") {
			return nil, errNone
		}
		return data, err
	}
}

// call returns a function that calls kubectl and returns its output.
func (s settings) call(args ...string) func(context.Context) ([]byte, error) {
	if s.kubeconfig != "" {
		args = append([]string{"--kubeconfig=" + s.kubeconfig}, args...)
	}
	return func(ctx context.Context) ([]byte, error) {
		path, err := exec.LookPath(s.kubectl)
		if err != nil {
			return nil, errors.New("no kubectl here")
		}
		ctx, cancel := context.WithTimeout(ctx, kubectlTimeout)
		defer cancel()
		command := exec.CommandContext(ctx, path, append([]string{"--request-timeout=10s"}, args...)...)
		command.WaitDelay = time.Second
		var stderr bytes.Buffer
		command.Stderr = &stderr
		out, err := command.Output()
		if err != nil {
			return out, fmt.Errorf("kubectl: %w: %s", err, strings.TrimSpace(stderr.String()))
		}
		return out, nil
	}
}
