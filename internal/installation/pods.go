package installation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/confcom/confcom/internal/daemon"
)

// maxAsked is how many pods that are not ready are examined: others tend to have the same
// cause.
const maxAsked = 5

// pod is as much of a pod as is read.
type pod struct {
	Metadata struct{ UID, Name string }
	Spec     struct {
		NodeName   string
		Containers []struct {
			Ports []struct {
				Name          string
				ContainerPort int
			}
		}
	}
	Status struct {
		PodIP, Reason, Message string
		Phase                  string
		Conditions             []struct{ Type, Status, Message string }
		ContainerStatuses      []struct {
			State, LastState struct {
				Running    *struct{}
				Waiting    *struct{ Reason, Message string }
				Terminated *end
			}
		}
	}
}

// end is how a container has ended.
type end struct {
	ExitCode        int
	Reason, Message string
}

func (e end) why() string {
	why := fmt.Sprintf("it ended with exit code %d (%s)", e.ExitCode, e.Reason)
	if message := conclusion(e.Message); message != "" {
		why += ": " + message
	}
	return why
}

// condition returns whether the pod has a condition, and its message.
func (p pod) condition(kind string) (status, message string) {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status, c.Message
		}
	}
	return "", ""
}

// cause is why a pod is not ready, and what to do about it.
type cause struct{ seen, remedy string }

// causes is where to look for the causes.
type causes struct {
	api       *API
	namespace string
}

// show is the command that shows most about the pods of an object.
func (c causes) show(name string) string {
	return fmt.Sprintf("this shows more: kubectl -n %s describe pods -l app.kubernetes.io/name=%s", c.namespace, name)
}

// of returns why pods of an object are not ready, if that is known.
func (c causes) of(ctx context.Context, kind, name string, wanted int) (found cause) {
	var exist int
	var unready []pod
	err := pages(ctx, c.api, "/api/v1/namespaces/"+c.namespace+"/pods?labelSelector="+url.QueryEscape("app.kubernetes.io/name="+name), func(p pod) error {
		exist++
		if ready, _ := p.condition("Ready"); ready != "True" && len(unready) < maxAsked {
			unready = append(unready, p)
		}
		return nil
	})
	if err != nil {
		return cause{err.Error(), c.show(name)}
	}
	if exist < wanted {
		if event := c.event(ctx, "involvedObject.kind="+kind+",involvedObject.name="+name); event != "" {
			return cause{event, c.creation(event, kind, name)}
		}
	}
	for _, p := range unready {
		why := c.ofPod(ctx, p)
		if why.seen == "" || strings.Contains(found.seen, ": "+why.seen) {
			continue
		}
		at := p.Metadata.Name
		if p.Spec.NodeName != "" {
			at += " on " + p.Spec.NodeName
		}
		if found.seen != "" {
			found.seen += "; "
		}
		found.seen += at + ": " + why.seen
		found.remedy = cmp.Or(found.remedy, why.remedy)
	}
	found.remedy = cmp.Or(found.remedy, c.show(name))
	return found
}

// creation returns what to do if pods are not created.
func (c causes) creation(event, kind, name string) string {
	if strings.Contains(event, "violates PodSecurity") {
		return "the daemons use directories of their node: kubectl label --overwrite namespace " + c.namespace + " pod-security.kubernetes.io/enforce=privileged, or set the chart's namespaceLabels. " +
			"New pods follow within minutes, or at once after kubectl -n " + c.namespace + " rollout restart " + strings.ToLower(kind) + " " + name
	}
	return fmt.Sprintf("this shows more: kubectl -n %s describe %s %s", c.namespace, strings.ToLower(kind), name)
}

// ofPod returns why a pod is not ready, if that is known.
func (c causes) ofPod(ctx context.Context, p pod) cause {
	if scheduled, message := p.condition("PodScheduled"); scheduled == "False" {
		return cause{"not scheduled: " + message, ""}
	}
	if p.Status.Phase == "Failed" {
		return cause{p.Status.Reason + ": " + p.Status.Message, ""}
	}
	var before *end // of a container that runs, maybe long ago, such as when the node was booted
	for _, s := range p.Status.ContainerStatuses {
		ended := cmp.Or(s.State.Terminated, s.LastState.Terminated)
		if s.State.Running != nil {
			before = cmp.Or(before, ended)
			continue
		}
		switch waiting := s.State.Waiting; {
		case waiting != nil && strings.Contains(waiting.Reason, "Image"):
			return cause{waiting.Reason + ": " + waiting.Message,
				"push the image to that registry, or set the registry that has it (global.imageRegistry) or the image's repository and digest; if it needs credentials, imagePullSecrets"}
		case ended != nil:
			return c.ofEnd(p, *ended)
		case waiting != nil && waiting.Message != "":
			return cause{waiting.Reason + ": " + waiting.Message, ""}
		case waiting != nil:
			event := c.event(ctx, "involvedObject.uid="+p.Metadata.UID)
			if strings.Contains(event, "hostPath type check failed") {
				return cause{event, "the node does not have this directory, or has something else there: find out which value of the chart names it (kubeletDir, devicePluginDir, aesmDir, upstream.dir, quoteHelper.podLogsDir), and what it is on this node"}
			}
			return cause{cmp.Or(event, waiting.Reason), ""}
		}
	}
	found, known := c.ofDaemon(ctx, p)
	switch {
	case before != nil && known:
		found.seen += "; before that, " + before.why()
	case before != nil:
		return c.ofEnd(p, *before)
	}
	return found
}

// ofEnd returns how a container of a pod has ended.
func (c causes) ofEnd(p pod, e end) cause {
	return cause{e.why(), fmt.Sprintf("this shows more: kubectl -n %s logs --previous %s", c.namespace, p.Metadata.Name)}
}

// conclusion returns what the end of a daemon's log says about the cause. Its lines are JSON,
// unless the program has no chance to write any.
func conclusion(log string) string {
	log = strings.TrimSpace(log)
	var line struct{ Msg, Error, Advice string }
	if json.Unmarshal([]byte(log[strings.LastIndexByte(log, '\n')+1:]), &line) != nil || line.Msg == "" {
		return log
	}
	for _, more := range []string{line.Error, line.Advice} {
		if more != "" {
			line.Msg += ": " + more
		}
	}
	return line.Msg
}

// event returns the last warning about an object, if there is any.
func (c causes) event(ctx context.Context, selector string) string {
	type event struct{ Reason, Message, LastTimestamp, EventTime string }
	var last event
	at := func(e event) string { return cmp.Or(e.LastTimestamp, e.EventTime) }
	// Without permission or answer, nothing is known.
	_ = pages(ctx, c.api, "/api/v1/namespaces/"+c.namespace+"/events?fieldSelector="+url.QueryEscape("type=Warning,"+selector), func(e event) error {
		if at(e) >= at(last) { // RFC 3339, in UTC
			last = e
		}
		return nil
	})
	if last == (event{}) {
		return ""
	}
	return last.Reason + ": " + strings.TrimSpace(last.Message)
}

// ofDaemon asks a daemon that runs why it is not ready. It reports whether the daemon knows.
func (c causes) ofDaemon(ctx context.Context, p pod) (found cause, known bool) {
	var port int
	for _, container := range p.Spec.Containers {
		for _, its := range container.Ports {
			if its.Name == "http" {
				port = its.ContainerPort
			}
		}
	}
	if port == 0 || p.Status.PodIP == "" {
		return cause{}, false
	}
	show := fmt.Sprintf("this shows more: kubectl -n %s logs %s", c.namespace, p.Metadata.Name)
	state, err := daemon.AskState(ctx, net.JoinHostPort(p.Status.PodIP, strconv.Itoa(port)))
	if err != nil {
		return cause{"it runs, but does not report its state: " + err.Error(), show}, false
	}
	found.remedy = show
	for _, condition := range state.Conditions {
		if condition.Met {
			continue
		}
		if found.seen != "" {
			found.seen += "; "
		}
		found.seen += condition.Name + ": " + condition.Reason
		if condition.Advice != "" && !strings.Contains(condition.Reason, condition.Advice) {
			found.seen += ": " + condition.Advice
		}
	}
	return found, found.seen != ""
}
