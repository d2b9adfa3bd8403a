//go:build kubelet

package kubelet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// The default names of the plugin's resources.
const (
	epc       = "kubernetes.azure.com/sgx_epc_mem_in_MiB"
	enclave   = "sgx.intel.com/enclave"
	provision = "sgx.intel.com/provision"
)

// Messages that the plugin logs.
const (
	msgRegistered     = "registered with the kubelet"
	msgNotRegistered  = "not registered with the kubelet"
	msgWithdrawn      = "no longer advertised"
	msgNoSGX          = "no usable SGX, advertising nothing"
	msgDiscoverFailed = "discover SGX failed, retrying"
)

// plugin is a process of sgx-device-plugin. Tests wait for lines of its log.
type plugin struct {
	t       testing.TB
	process *exec.Cmd
	started time.Time
	read    chan struct{} // closed at the end of the log
	ended   func() error  // waits until the process has ended

	marked int // the first line that await considers

	mu   sync.Mutex
	log  []line
	news chan struct{} // closed and replaced with each line
}

// line is a line of the log.
type line struct {
	Time    time.Time
	Level   string
	Msg     string
	Address string
	text    string
}

// simulate returns the flag for simulated EPC.
func simulate(mib int) string { return fmt.Sprintf("--simulate-epc=%dMi", mib) }

// startPlugin starts the plugin. It is killed when the test ends.
func startPlugin(t testing.TB, args ...string) *plugin {
	t.Helper()
	return start(t, exec.Command(program, append(args, "--log-format=json")...))
}

// startPluginAs starts the plugin as a user other than root.
func startPluginAs(t testing.TB, user uint32, args ...string) *plugin {
	t.Helper()
	// The program may be in a directory that only root can access.
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	reachable := filepath.Join(kubeletRoot, filepath.Base(program))
	if err := os.WriteFile(reachable, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(reachable) })
	command := exec.Command(reachable, append(args, "--log-format=json")...)
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return start(t, command)
}

func start(t testing.TB, process *exec.Cmd) *plugin {
	t.Helper()
	p := &plugin{
		t:       t,
		process: process,
		read:    make(chan struct{}),
		news:    make(chan struct{}),
	}
	if p.process.SysProcAttr == nil {
		p.process.SysProcAttr = new(syscall.SysProcAttr)
	}
	p.process.SysProcAttr.Pdeathsig = syscall.SIGKILL
	stderr, err := p.process.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.started = time.Now()
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	go p.follow(stderr)
	p.ended = sync.OnceValue(func() error {
		<-p.read
		return p.process.Wait()
	})
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of the plugin:\n%s", p)
		}
	})
	return p
}

// follow reads the log until the plugin ends.
func (p *plugin) follow(log io.Reader) {
	defer close(p.read)
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l := line{text: lines.Text()}
		_ = json.Unmarshal(lines.Bytes(), &l) // a panic is not JSON
		p.mu.Lock()
		p.log = append(p.log, l)
		close(p.news)
		p.news = make(chan struct{})
		p.mu.Unlock()
	}
}

// mark makes await ignore the lines so far.
func (p *plugin) mark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marked = len(p.log)
}

// await waits for a line after the mark with this message and these texts, and returns
// the first one.
func (p *plugin) await(message string, texts ...string) line {
	p.t.Helper()
	return p.awaitAfter(p.marked, message, texts...)
}

// awaitAfter is await from a given line on.
func (p *plugin) awaitAfter(first int, message string, texts ...string) line {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		log, news := p.log[first:], p.news
		p.mu.Unlock()
	lines:
		for _, l := range log {
			if l.Msg != message {
				continue
			}
			for _, text := range texts {
				if !strings.Contains(l.text, text) {
					continue lines
				}
			}
			return l
		}
		select {
		case <-news:
		case <-p.read:
			select {
			case <-news: // the last line
			default:
				p.t.Fatalf("the plugin ended (%v) without logging %q %q", p.ended(), message, texts)
			}
		case <-timeout:
			p.t.Fatalf("the plugin did not log %q %q within %v", message, texts, patience)
		}
	}
}

// logged returns the number of lines with this message.
func (p *plugin) logged(message string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, l := range p.log {
		if l.Msg == message {
			n++
		}
	}
	return n
}

func (p *plugin) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, l := range p.log {
		fmt.Fprintln(&b, l.text)
	}
	return b.String()
}

func (p *plugin) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.process.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// stop stops the plugin gracefully. If the plugin does not end, stop makes it dump its
// goroutines.
func (p *plugin) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.read:
	case <-time.After(patience):
		p.signal(syscall.SIGQUIT)
		_ = p.ended()
		p.t.Fatalf("still running %v after SIGTERM", patience)
	}
	if err := p.ended(); err != nil {
		p.t.Errorf("after SIGTERM: %v", err)
	}
}

// kill kills the plugin, which leaves its sockets behind.
func (p *plugin) kill() {
	_ = p.process.Process.Kill() // it may have ended already
	_ = p.ended()
}

// descriptors returns the number of the plugin's open files.
func (p *plugin) descriptors() int {
	p.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.process.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(entries)
}

// memory returns a field of the plugin's /proc status in KiB: VmRSS is the resident
// memory now, VmHWM its maximum.
func (p *plugin) memory(field string) int {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.process.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\n"+field+":")
	fields := strings.Fields(rest)
	if len(fields) < 2 || fields[1] != "kB" {
		p.t.Fatalf("no %s in:\n%s", field, status)
	}
	kib, err := strconv.Atoi(fields[0])
	if err != nil {
		p.t.Fatal(err)
	}
	return kib
}

// metric returns the value of a metric, named with its labels as in the Prometheus text
// format. The plugin must serve HTTP.
func (p *plugin) metric(name string) float64 {
	p.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get("http://" + p.awaitAfter(0, "serving health and metrics").Address + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return number
		}
	}
	p.t.Fatalf("no metric %s in:\n%s", name, text)
	return 0
}

// dial connects to a plugin's own socket, as the kubelet does.
func dial(t testing.TB, socket string) v1beta1.DevicePluginClient {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return v1beta1.NewDevicePluginClient(conn)
}

// onlySocket returns the plugin's socket, which must be the only one.
func onlySocket(t testing.TB) string {
	t.Helper()
	sockets := pluginSockets(t)
	if len(sockets) != 1 {
		t.Fatalf("sockets of plugins: %v, want one", sockets)
	}
	return sockets[0]
}
