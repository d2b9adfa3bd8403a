package e2e

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	advertised "github.com/confcom/confcom/internal/epc"
)

const (
	apiServer = "kube-apiserver"
	kubelet   = "kubelet"

	// apiServerAway is how long the API server is away.
	apiServerAway = 10 * time.Second
	// nodeValues put the node into mode node.
	nodeValues = "simulatedEPC=512Gi,simulatedDevice=/dev/null"
	nodeEPC    = "524288" // MiB that it advertises then
)

// situation is what a change finds, and what happens in its middle.
type situation struct {
	name    string
	node    bool   // mode node, not devices
	full    bool   // all EPC is in use
	restart string // the component that is away for a while
}

var situations = []situation{
	{name: "devices"},
	{name: "full node", full: true},
	{name: "API server away", restart: apiServer},
	{name: "kubelet restarted", restart: kubelet},
	{name: "node", node: true}, // the last: a node takes minutes to enter this mode
}

// TestChanges makes each change in each situation, while a pod with EPC runs, others come,
// and quotes are made. It prints a table of what that costs. With CONFCOM_E2E_LONG it makes
// all of them, which takes about an hour, and otherwise a few that take two minutes.
func TestChanges(t *testing.T) {
	m := &matrix{base: chartValues(t)}
	t.Cleanup(func() {
		m.ensure(t, true, false)
		fmt.Print(m.table())
	})
	for _, s := range situations {
		for _, change := range []struct {
			name  string
			short []string // the situations of a short run
			run   func(*matrix, *testing.T, *cell)
		}{
			{"install", nil, (*matrix).install},
			{"upgrade", []string{"full node", "API server away"}, (*matrix).upgrade},
			{"rollback", nil, (*matrix).rollback},
			{"uninstall", nil, (*matrix).uninstall},
			{"reinstall", []string{"kubelet restarted"}, (*matrix).reinstall},
			{"mode change", nil, (*matrix).changeMode},
		} {
			t.Run(change.name+"/"+s.name, func(t *testing.T) {
				if !slices.Contains(change.short, s.name) {
					long(t)
				}
				c := &cell{change: change.name, situation: s}
				change.run(m, t, c)
				m.cells = append(m.cells, c)
				t.Log(c.row())
				c.check(t)
			})
		}
	}
}

// cell is one change in one situation, and what was seen.
type cell struct {
	change string
	situation
	observer *observer
	probe    *probe
	quoter   *quoter
	clients  int // pods that get quotes without pause

	failed    []string // pods
	lost      bool     // a pod that ran before does not run any more
	admission time.Duration
	endless   bool // there is no admission in the end, as intended
	quotes    int
	refused   int // quotes
	silence   time.Duration
	helm      []string // what helm said
	truth     string   // what was so when it said so
}

type matrix struct {
	base     string // the chart's values in mode devices
	cells    []*cell
	revision int
}

// table returns the cells as a table in Markdown.
func (m *matrix) table() string {
	var b strings.Builder
	b.WriteString("| change | situation | pods failed | longest wait of a new pod with EPC | quotes | failed | longest time without | helm | when it returned |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range m.cells {
		b.WriteString(c.row() + "\n")
	}
	return b.String()
}

func (c *cell) row() string {
	wait := seconds(c.admission)
	if c.endless {
		wait = "none are admitted"
	}
	lost := ""
	if c.lost {
		lost = ", and one that ran before"
	}
	return fmt.Sprintf("| %s | %s | %d%s | %s | %d | %d | %s | %s | %s |", c.change, c.name, len(c.failed), lost, wait,
		c.quotes, c.refused, seconds(c.silence), strings.Join(c.helm, "; then "), c.truth)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// check checks what every change must keep.
func (c *cell) check(t *testing.T) {
	t.Helper()
	if len(c.failed) > 0 || c.lost {
		t.Errorf("failed pods: %q; lost: %v", c.failed, c.lost)
	}
	if removed := c.change == "uninstall" || c.change == "reinstall" || c.change == "install"; c.refused > 0 && !removed {
		t.Errorf("%d quotes failed", c.refused)
	}
}

// ensure installs or uninstalls the chart, in one of the modes.
func (m *matrix) ensure(t *testing.T, installed, node bool) {
	t.Helper()
	kubectl(t, "-n", "default", "delete", "pods", "--all", "--grace-period=0", "--timeout=60s")
	if _, err := try(t, "", "helm", "-n", namespace, "status", "confcom"); err != nil {
		if err := m.try(t, "install", m.base); err != nil {
			t.Fatal(err)
		}
	}
	want := epc
	if node {
		want = nodeEPC
		install(t, m.base, nodeValues)
		if m.state(t) != advertised.StateNode {
			forgetDevices(t)
		}
	} else {
		install(t, m.base)
	}
	waitAllocatable(t, resource, want)
	for _, daemon := range []string{"sgx-device-plugin", "sgx-node-resource", helper} {
		waitRollout(t, daemon)
	}
	if !installed {
		if err := m.try(t, "uninstall", ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the pods have gone", func() bool { return kubectl(t, "-n", namespace, "get", "pods", "-o", "name") == "" })
	}
}

func (m *matrix) state(t *testing.T) advertised.State {
	t.Helper()
	a, err := advertised.ReadAdvertisement(advertised.DefaultStateDir)
	if err != nil {
		t.Fatal(err)
	}
	return a.State
}

// try runs helm as the documentation says.
func (m *matrix) try(t *testing.T, verb, values string, flags ...string) error {
	args := []string{"-n", namespace, verb, "confcom", "--wait", "--timeout", "2m"}
	switch verb {
	case "install":
		args = append(args, "charts/confcom", "--values", "-")
	case "upgrade":
		args = append(args, "charts/confcom", "--reset-values", "--values", "-")
	}
	_, err := try(t, values, "helm", append(args, flags...)...)
	return err
}

// begin starts what lasts through the change: a pod with EPC that runs before, if the chart
// is installed, others that come, and quotes.
func (c *cell) begin(t *testing.T, installed bool) (holder pod, container string) {
	t.Helper()
	c.observer = observe(t)
	if installed {
		share := "10"
		if c.full {
			share = strconv.Itoa(63 - c.clients) // the probe has the rest
		}
		holder = newPod(t, "default", "holder", limits{resource: share})
		holder.waitReady(t)
		container = holder.container(t)
	}
	if c.clients > 0 {
		startClients(t, c.clients)
	}
	c.quoter = startQuoter(t)
	c.probe = startProbe(t, c.observer)
	if installed {
		c.probe.awaitNext(t, time.Minute)
		c.quoter.awaitNext(t, time.Minute)
	}
	return holder, container
}

// end stops it, and takes the figures.
func (c *cell) end(t *testing.T, holder pod, container string) {
	t.Helper()
	c.quoter.stop()
	c.probe.stop()
	c.failed = c.observer.failures()
	c.quotes, c.refused, c.silence = c.quoter.quotes, c.quoter.failed, c.quoter.longest
	if c.clients > 0 {
		for _, result := range endClients(t, c.clients) {
			c.quotes += int(result.Requests)
			c.refused += int(result.Failed)
			if result.Latency != nil {
				c.silence = max(c.silence, time.Duration(result.Latency.Max*float64(time.Second)))
			}
		}
	}
	if c.quoter.err != nil {
		t.Logf("the last quote that failed: %v", c.quoter.err)
	}
	c.admission = max(c.admission, c.probe.longest)
	if holder.name != "" {
		c.lost = holder.container(t) != container
	}
}

// command runs helm, and lets a component be away in its middle. If helm fails, it does what
// an administrator would: the same again, and if that fails too, again after a rollback or
// an uninstallation.
func (m *matrix) command(t *testing.T, c *cell, verb, values string, flags ...string) {
	t.Helper()
	middle := c.observer.middle(t)
	result := make(chan error, 1)
	began := time.Now()
	background(t, func(context.Context) { result <- m.try(t, verb, values, flags...) })
	if c.restart != "" {
		select {
		case <-middle:
			away(t, c.restart)
		case <-time.After(time.Minute):
			t.Fatalf("helm %s changes no pod", verb)
		}
	}
	err := <-result
	for attempt := 0; ; attempt++ {
		took := seconds(time.Since(began))
		if err == nil {
			c.helm = append(c.helm, fmt.Sprintf("`%s`: ok after %s", verb, took))
			break
		}
		c.helm = append(c.helm, fmt.Sprintf("`%s`: %s, after %s", verb, brief(err), took))
		t.Log(err)
		if attempt == 3 {
			t.Fatal("helm does not succeed")
		}
		began = time.Now()
		if cure := map[string]string{"upgrade": "rollback", "install": "uninstall"}[verb]; cure != "" && attempt > 0 {
			cured := m.try(t, cure, "")
			c.helm = append(c.helm, fmt.Sprintf("`%s`: %s", cure, brief(cured)))
			began = time.Now()
		}
		err = m.try(t, verb, values, flags...)
	}
	c.truth = m.truth(t, verb)
}

var spaces = regexp.MustCompile(`\s+`)

// brief returns the last words of helm's error.
func brief(err error) string {
	if err == nil {
		return "ok"
	}
	text := err.Error()
	if i := strings.LastIndex(text, "Error: "); i >= 0 {
		text = text[i:]
	}
	text = spaces.ReplaceAllString(strings.ReplaceAll(text, "|", "/"), " ")
	return text[:min(len(text), 160)]
}

// truth returns what is not as helm --wait says, or "true".
func (m *matrix) truth(t *testing.T, verb string) string {
	t.Helper()
	if verb == "uninstall" {
		left := strings.Fields(kubectl(t, "-n", namespace, "get", "daemonsets,jobs,serviceaccounts,deployments", "-l", "app.kubernetes.io/part-of=confcom", "-o", "name"))
		if len(left) > 0 {
			return fmt.Sprintf("left: %q", left)
		}
		pods := strings.Fields(kubectl(t, "-n", namespace, "get", "pods", "-o", "name"))
		return fmt.Sprintf("true; %d pods still end", len(pods))
	}
	var not []string
	for _, daemon := range []string{"sgx-device-plugin", "sgx-node-resource", helper} {
		status := kubectl(t, "-n", namespace, "rollout", "status", "daemonset/"+daemon, "--watch=false")
		if !strings.Contains(status, "successfully rolled out") {
			not = append(not, strings.TrimSpace(status))
		}
	}
	if not != nil {
		return strings.Join(not, ", ")
	}
	return "true"
}

// settle waits until pods with EPC are admitted and quotes are made again.
func (c *cell) settle(t *testing.T, limit time.Duration) {
	t.Helper()
	returned := time.Now()
	c.probe.awaitNext(t, limit)
	pods := time.Since(returned)
	c.quoter.awaitNext(t, limit)
	t.Logf("two new pods %s after helm returned, a quote after %s", seconds(pods), seconds(time.Since(returned)))
	for _, daemon := range []string{"sgx-device-plugin", "sgx-node-resource", helper} {
		waitRollout(t, daemon)
	}
}

// away kills a component, and starts it again: the API server after some time.
func away(t *testing.T, component string) {
	t.Helper()
	if component == apiServer {
		kill(t, component)
		time.Sleep(apiServerAway)
	}
	run(t, "", "bin/cluster", "restart", component)
}

// kill kills a component of the cluster.
func kill(t *testing.T, component string) {
	t.Helper()
	status, _ := try(t, "", "bin/cluster", "status") // fails if one is not healthy
	for line := range strings.Lines(status) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == component {
			pid, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no component %s:\n%s", component, status)
}

// values returns the chart's values of a mode.
func (m *matrix) values(node bool) []string {
	if node {
		return []string{"--set", nodeValues}
	}
	return nil
}

// next returns a flag that makes an upgrade replace all pods.
func (m *matrix) next() string {
	m.revision++
	return fmt.Sprintf("podAnnotations.change=%d-%d", os.Getpid(), m.revision)
}

func (m *matrix) install(t *testing.T, c *cell) {
	m.ensure(t, false, c.node)
	c.begin(t, false)
	m.command(t, c, "install", m.base, m.values(c.node)...)
	c.settle(t, 2*time.Minute)
	c.end(t, pod{}, "")
}

func (m *matrix) upgrade(t *testing.T, c *cell) {
	c.clients = 3
	m.ensure(t, true, c.node)
	holder, container := c.begin(t, true)
	m.command(t, c, "upgrade", m.base, append(m.values(c.node), "--set-string", m.next())...)
	c.settle(t, 2*time.Minute)
	c.end(t, holder, container)
}

// rollback goes back from an upgrade to images that do not exist.
func (m *matrix) rollback(t *testing.T, c *cell) {
	c.clients = 3
	m.ensure(t, true, c.node)
	good := strconv.Itoa(releaseVersion(t)) // without it, a rollback after one that failed goes to the upgrade
	holder, container := c.begin(t, true)
	began := time.Now()
	err := m.try(t, "upgrade", m.base, append(m.values(c.node), "--timeout", "15s", "--set",
		"devicePlugin.image.tag=missing,devicePlugin.image.pullPolicy=Never,nodeResource.image.tag=missing,nodeResource.image.pullPolicy=Never,quoteHelper.image.tag=missing,quoteHelper.image.pullPolicy=Never")...)
	if err == nil {
		t.Error("helm upgrade --wait succeeds with images that do not exist")
	}
	c.helm = append(c.helm, fmt.Sprintf("`upgrade`: %s, after %s", brief(err), seconds(time.Since(began))))
	m.command(t, c, "rollback", "", good)
	c.settle(t, 2*time.Minute)
	c.end(t, holder, container)
}

func (m *matrix) uninstall(t *testing.T, c *cell) {
	m.ensure(t, true, c.node)
	holder, container := c.begin(t, true)
	m.command(t, c, "uninstall", "")
	c.quoter.stop() // what follows cannot succeed
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if !c.observer.await(ctx, func(pods map[types.UID]*corev1.Pod) bool {
		for _, p := range pods {
			if p.Namespace == namespace {
				return false
			}
		}
		return true
	}) {
		t.Error("pods of the chart are left")
	}
	c.endless = true
	c.end(t, holder, container)
	newPod(t, "default", "after-uninstall", limits{resource: "1"}).waitUnschedulable(t, "Insufficient "+resource)
}

// reinstall installs right after helm has uninstalled.
func (m *matrix) reinstall(t *testing.T, c *cell) {
	m.ensure(t, true, c.node)
	holder, container := c.begin(t, true)
	began := time.Now()
	err := m.try(t, "uninstall", "")
	c.helm = append(c.helm, fmt.Sprintf("`uninstall`: %s after %s", brief(err), seconds(time.Since(began))))
	m.command(t, c, "install", m.base, m.values(c.node)...)
	c.settle(t, 2*time.Minute)
	c.end(t, holder, container)
}

// changeMode has the node wanted in the other mode. It changes when no pod needs the former
// one any more, which is when the component is away.
func (m *matrix) changeMode(t *testing.T, c *cell) {
	m.ensure(t, true, c.node)
	holder, container := c.begin(t, true)
	restart := c.restart
	c.restart = ""
	m.command(t, c, "upgrade", m.base, m.values(!c.node)...)
	c.settle(t, 2*time.Minute) // in the former mode
	c.probe.stop()
	c.admission = c.probe.longest
	c.lost = holder.container(t) != container
	former := m.state(t)
	holder.delete(t)
	began := time.Now()
	for m.state(t) == former && time.Since(began) < time.Minute {
		time.Sleep(50 * time.Millisecond)
	}
	left := time.Now()
	if !c.node {
		waitReleasing(t) // pods that come earlier may still be given devices, and hold the node
	}
	t.Logf("%s left %s after the last pod was deleted, %s after %s", former, seconds(left.Sub(began)), m.state(t), seconds(time.Since(began)))
	already := time.Since(left)
	c.probe = startProbe(t, c.observer)
	if c.restart = restart; restart != "" {
		time.Sleep(30 * time.Second) // in the middle of the five minutes
		away(t, restart)
	}
	for m.state(t) == advertised.StateReleasing && time.Since(began) < 2*releaseTimeout {
		time.Sleep(200 * time.Millisecond)
	}
	c.settle(t, time.Minute)
	c.probe.stop()
	c.admission = max(c.admission, already+c.probe.longest)
	c.end(t, pod{}, "")
	waitCondition(t, map[bool]string{false: "NodeStatus", true: "Devices"}[c.node], "True")
	c.truth += ", but of the pods only: the node changes its mode later"
}
