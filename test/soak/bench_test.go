package soak

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/confcom/confcom/aesm"
)

// The benchmarks compare the helper with a floor: a server that accepts, reads once, writes
// a canned reply of the same length and closes. Clients, server and the reader of the logs
// are three processes. As machines are noisy, the sides take turns, and each figure is the
// median of several rounds; each ratio is that of two neighboring measurements. The
// server's CPU time per request depends less on what else the machine does.
const (
	rounds    = 5
	roundTime = time.Second
)

// side is a server that is measured.
type side struct {
	name    string
	backend string // of the helper; empty for the floor
	quiet   bool   // the helper writes no audit log
	signs   bool   // the floor makes a signature for each request
}

const (
	sideFloor     = "floor"
	sideSigning   = "floor-signing"
	sideNull      = "helper-null"
	sideQuiet     = "helper-null-quiet"
	sideSimulated = "helper-simulated"
)

func sides() []side {
	return []side{
		{name: sideFloor},
		{name: sideQuiet, backend: backendNull, quiet: true},
		{name: sideNull, backend: backendNull},
		{name: sideSigning, signs: true},
		{name: sideSimulated, backend: backendSimulated},
	}
}

// server is a running side.
type server struct {
	socket string
	pid    int
}

// figures are the measurements of a server in one round.
type figures struct {
	rate float64 // requests per second
	p99  time.Duration
	cpu  float64 // seconds of the server's CPU time per request
}

// measure runs clients against a server for a while.
func (s server) measure(b *testing.B, what requestKind, clients int, d time.Duration) figures {
	b.Helper()
	before := cpuTime(b, s.pid)
	a := startJob[map[requestKind]answers](b, roleClients, nil, 0, clientsTask{
		Socket: s.socket, Groups: map[requestKind]int{what: clients}, Report: simulatedReport(b), Duration: d,
	}).outcome(b)[what]
	spent := cpuTime(b, s.pid) - before
	if a.Failed > 0 || a.Requests == 0 {
		b.Errorf("%d of %d requests failed: %v", a.Failed, a.Requests, a.Failures)
	}
	return figures{rate: a.rate(), p99: a.P99, cpu: spent.Seconds() / float64(max(a.Requests, 1))}
}

// startSides starts all sides. They all send the same reply.
func startSides(b *testing.B) map[string]server {
	b.Helper()
	dir := b.TempDir()
	servers := make(map[string]server)
	concurrency := runtime.GOMAXPROCS(0) // sgx-quote-helper's default for a simulated platform
	var reply []byte
	for _, s := range sides() {
		if s.backend == "" {
			continue
		}
		socket := filepath.Join(dir, s.name)
		var h *helper
		if s.quiet {
			h = startHelper(b, socket, s.backend, concurrency, "--log-level=warn")
			waitForSocket(b, socket) // it does not log that it serves
		} else {
			h = serveHelper(b, socket, s.backend, concurrency)
		}
		servers[s.name] = server{socket, h.Process.Pid}
		reply = replyOf(b, socket)
	}
	for _, s := range sides() {
		if s.backend != "" {
			continue
		}
		socket := filepath.Join(dir, s.name)
		j := startJob[struct{}](b, roleFloor, nil, 0, floorTask{Socket: socket, Reply: reply, Signs: s.signs})
		servers[s.name] = server{socket, j.Process.Pid}
	}
	return servers
}

// waitForSocket waits until a daemon serves a socket.
func waitForSocket(b *testing.B, socket string) {
	b.Helper()
	conn, err := backoff.Retry(b.Context(), func() (net.Conn, error) { return net.Dial("unix", socket) },
		backoff.WithBackOff(backoff.NewConstantBackOff(10*time.Millisecond)), backoff.WithMaxElapsedTime(patience))
	if err != nil {
		b.Fatal(err)
	}
	conn.Close()
}

// replyOf returns a server's whole reply to a request for a quote.
func replyOf(b *testing.B, socket string) []byte {
	b.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	tape := &tap{Conn: conn}
	client := aesm.Client{Socket: socket, Dial: func(context.Context) (net.Conn, error) { return tape, nil }}
	ask, err := givenQuotes(&client, simulatedReport(b))
	if err == nil {
		err = ask(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	return tape.read
}

// tap is a connection that keeps a copy of what is read from it.
type tap struct {
	net.Conn
	read []byte
}

func (p *tap) Read(buffer []byte) (int, error) {
	n, err := p.Conn.Read(buffer)
	p.read = append(p.read, buffer[:n]...)
	return n, err
}

// ticks is the number of clock ticks per second in /proc/PID/stat, the same on every Linux.
const ticks = 100

// cpuTime returns the CPU time that a process has used.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const utime, stime = 11, 12 // after the name, which may contain spaces
	total := 0
	for _, field := range []string{fields[utime], fields[stime]} {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		total += n
	}
	return time.Duration(total) * time.Second / ticks
}

// memory returns the resident memory of a process, now and at its peak, in MiB.
func memory(b *testing.B, pid int) (now, highest float64) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); err == nil {
			now = kib / 1024
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
			highest = kib / 1024
		}
	}
	return now, highest
}

// median returns the median of values, and sorts them.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// printTable prints the lines of a table for docs/performance.md.
func printTable(lines []string) { fmt.Printf("\n%s\n\n", strings.Join(lines, "\n")) }

// BenchmarkQuotes compares how many quotes per second the sides serve.
func BenchmarkQuotes(b *testing.B) {
	servers := startSides(b)
	lines := []string{
		"| clients | floor | helper, no signature, no audit log | of the floor | the same with the audit log | of the floor | floor with a signature | helper, simulated backend | of that floor |",
		"|---|---|---|---|---|---|---|---|---|",
	}
	times := []string{
		"| CPU time per request, clients | floor | helper, no audit log | helper | floor with a signature | helper, simulated |",
		"|---|---|---|---|---|---|",
	}
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			for b.Loop() {
				rate, cpu := make(map[string][]float64), make(map[string][]float64)
				for range rounds {
					for _, s := range sides() {
						f := servers[s.name].measure(b, requestGiven, clients, roundTime)
						rate[s.name] = append(rate[s.name], f.rate)
						cpu[s.name] = append(cpu[s.name], f.cpu*1e6)
					}
				}
				ratio := func(of map[string][]float64, a, b string) float64 {
					var r []float64
					for i := range of[a] {
						r = append(r, of[a][i]/of[b][i])
					}
					return median(r)
				}
				quiet, null, simulated := ratio(rate, sideQuiet, sideFloor), ratio(rate, sideNull, sideFloor), ratio(rate, sideSimulated, sideSigning)
				b.ReportMetric(quiet, "quiet/floor")
				b.ReportMetric(null, "null/floor")
				b.ReportMetric(simulated, "simulated/floor-signing")
				row := make(map[string][2]float64)
				for _, s := range sides() {
					row[s.name] = [2]float64{median(rate[s.name]), median(cpu[s.name])}
					b.ReportMetric(row[s.name][0], s.name+"-req/s")
					b.ReportMetric(row[s.name][1], s.name+"-cpu-µs/req")
				}
				b.ReportMetric(0, "ns/op") // of a whole comparison: meaningless
				lines = append(lines, fmt.Sprintf("| %d | %.0f/s | %.0f/s | %.0f%% | %.0f/s | %.0f%% | %.0f/s | %.0f/s | %.0f%% |", clients,
					row[sideFloor][0], row[sideQuiet][0], 100*quiet, row[sideNull][0], 100*null, row[sideSigning][0], row[sideSimulated][0], 100*simulated))
				times = append(times, fmt.Sprintf("| %d | %.0f µs | %.0f µs | %.0f µs | %.0f µs | %.0f µs |", clients,
					row[sideFloor][1], row[sideQuiet][1], row[sideNull][1], row[sideSigning][1], row[sideSimulated][1]))
			}
		})
	}
	printTable(lines)
	printTable(times)
}

// BenchmarkConcurrency measures a backend that takes 5 ms for a quote, with increasing
// concurrency. The helper's metrics have the time that the backend really took, including
// what its timer and a busy machine add; the rest is the helper's own.
func BenchmarkConcurrency(b *testing.B) {
	const clients = 64
	lines := []string{
		"| concurrency, 5 ms per quote, 64 clients | quotes | time in the backend | concurrency used |",
		"|---|---|---|---|",
	}
	for _, concurrency := range []int{1, 4, 8} {
		b.Run(fmt.Sprintf("concurrency=%d", concurrency), func(b *testing.B) {
			socket := filepath.Join(b.TempDir(), "aesm.socket")
			h := serveHelper(b, socket, backendSlow, concurrency)
			for b.Loop() {
				var rates []float64
				for range rounds {
					rates = append(rates, server{socket, h.Process.Pid}.measure(b, requestGiven, clients, roundTime).rate)
				}
				m := h.mustMetrics(b)
				rate, service := median(rates), m[metricServiceSum]/m[metricServed]
				used := rate * service / float64(concurrency)
				b.ReportMetric(rate, "req/s")
				b.ReportMetric(service*1e3, "ms-in-backend")
				b.ReportMetric(used, "concurrency-used")
				b.ReportMetric(0, "ns/op")
				lines = append(lines, fmt.Sprintf("| %d | %.0f/s | %.2f ms | %.0f%% |", concurrency, rate, service*1e3, 100*used))
			}
		})
	}
	printTable(lines)
}

// BenchmarkMemory measures the resident memory of the servers with 256 clients.
func BenchmarkMemory(b *testing.B) {
	const clients = 256
	servers := startSides(b)
	lines := []string{
		"| resident memory with 256 clients | at the end | peak |",
		"|---|---|---|",
	}
	for _, name := range []string{sideFloor, sideNull, sideSimulated} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				servers[name].measure(b, requestGiven, clients, 3*roundTime)
				now, highest := memory(b, servers[name].pid)
				b.ReportMetric(now, "MiB-resident")
				b.ReportMetric(highest, "MiB-highest")
				b.ReportMetric(0, "ns/op")
				lines = append(lines, fmt.Sprintf("| %s | %.1f MiB | %.1f MiB |", name, now, highest))
			}
		})
	}
	printTable(lines)
}

// BenchmarkCheapRequests measures requests that need no turn, while 32 clients saturate a
// backend that takes 5 ms for a quote and serves one request at a time.
func BenchmarkCheapRequests(b *testing.B) {
	const clients = 32
	socket := filepath.Join(b.TempDir(), "aesm.socket")
	h := serveHelper(b, socket, backendSlow, 1)
	busy := startJob[map[requestKind]answers](b, roleClients, nil, 0, clientsTask{Socket: socket, Groups: map[requestKind]int{requestGiven: clients}, Report: simulatedReport(b)})
	lines := []string{
		"| while 32 clients wait for quotes | requests | 99th percentile |",
		"|---|---|---|",
	}
	for _, what := range []requestKind{requestKeys, requestSizes} {
		b.Run(string(what), func(b *testing.B) {
			for b.Loop() {
				var rates, p99s []float64
				for range rounds {
					f := server{socket, h.Process.Pid}.measure(b, what, 1, roundTime)
					rates = append(rates, f.rate)
					p99s = append(p99s, float64(f.p99)/float64(time.Millisecond))
				}
				rate, p99 := median(rates), median(p99s)
				b.ReportMetric(rate, "req/s")
				b.ReportMetric(p99, "p99-ms")
				b.ReportMetric(0, "ns/op")
				lines = append(lines, fmt.Sprintf("| %s | %.0f/s | %.2f ms |", what, rate, p99))
			}
		})
	}
	if a := busy.stop(b)[requestGiven]; a.Failed > 0 {
		b.Errorf("clients waiting for quotes failed: %v", a.Failures)
	}
	printTable(lines)
}
