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

	"github.com/confcom/confcom/aesm"
)

// The benchmarks compare the helper with a floor: a server that accepts, reads
// once, writes a canned reply of the same length and closes. Clients, servers and
// the reader of the logs are three processes. Each figure is the median of some
// rounds in which the sides take turns, since machines are noisy; so are the
// ratios, each of two neighbors in time. The processor's time of the server for
// each request is disturbed less by what else a machine does.
const (
	rounds    = 5
	roundTime = time.Second
)

// side is a server that is measured.
type side struct {
	name     string
	platform string // of the helper; none for the floor
	quiet    bool   // for the helper: without a line in the log for each quote
	signs    bool   // for the floor
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
		{name: sideQuiet, platform: platformNull, quiet: true},
		{name: sideNull, platform: platformNull},
		{name: sideSigning, signs: true},
		{name: sideSimulated, platform: platformSimulated},
	}
}

// server is a side that runs.
type server struct {
	socket string
	pid    int
}

// figures are what was measured of a server in one round.
type figures struct {
	rate float64 // requests a second
	p99  time.Duration
	cpu  float64 // seconds of the server's processor time for a request
}

// measure has clients ask a server for a while.
func (s server) measure(b *testing.B, what asking, clients int, d time.Duration) figures {
	b.Helper()
	before := cpuTime(b, s.pid)
	a := startJob[map[asking]answers](b, roleClients, nil, 0, clientsTask{
		Socket: s.socket, Groups: map[asking]int{what: clients}, Report: simulatedReport(b), Duration: d,
	}).outcome(b)[what]
	spent := cpuTime(b, s.pid) - before
	if a.Failed > 0 || a.Requests == 0 {
		b.Errorf("%d of %d requests failed: %v", a.Failed, a.Requests, a.Failures)
	}
	return figures{rate: a.rate(), p99: a.P99, cpu: spent.Seconds() / float64(max(a.Requests, 1))}
}

// startSides starts all sides, which answer the same.
func startSides(b *testing.B) map[string]server {
	b.Helper()
	dir := b.TempDir()
	servers := make(map[string]server)
	slots := runtime.GOMAXPROCS(0) // as the program has it for a simulated platform
	var reply []byte
	for _, s := range sides() {
		if s.platform == "" {
			continue
		}
		socket := filepath.Join(dir, s.name)
		var h *helper
		if s.quiet {
			h = startHelper(b, socket, s.platform, slots, "--log-level=warn")
			waitForSocket(b, socket) // of which it does not tell
		} else {
			h = serveHelper(b, socket, s.platform, slots)
		}
		servers[s.name] = server{socket, h.Process.Pid}
		reply = replyOf(b, socket)
	}
	for _, s := range sides() {
		if s.platform != "" {
			continue
		}
		socket := filepath.Join(dir, s.name)
		j := startJob[struct{}](b, roleFloor, nil, 0, floorTask{Socket: socket, Reply: reply, Signs: s.signs})
		servers[s.name] = server{socket, j.Process.Pid}
	}
	return servers
}

// waitForSocket waits until somebody serves a socket.
func waitForSocket(b *testing.B, socket string) {
	b.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}

// replyOf is the whole reply to a request for a quote.
func replyOf(b *testing.B, socket string) []byte {
	b.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	tape := &player{Conn: conn}
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

// player keeps what is read from a connection.
type player struct {
	net.Conn
	read []byte
}

func (p *player) Read(buffer []byte) (int, error) {
	n, err := p.Conn.Read(buffer)
	p.read = append(p.read, buffer[:n]...)
	return n, err
}

// ticks is how many there are in a second of /proc/PID/stat: of every Linux.
const ticks = 100

// cpuTime is the processor's time that a process has spent.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const utime, stime = 11, 12 // behind the name, which may have spaces
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

// memory is what a process has resident, now and at its highest, in MiB.
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

// median is that of the values, which it sorts.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// printTable prints the lines of a table for docs/performance.md.
func printTable(lines []string) { fmt.Printf("\n%s\n\n", strings.Join(lines, "\n")) }

// BenchmarkQuotes compares how many quotes the sides hand out.
func BenchmarkQuotes(b *testing.B) {
	servers := startSides(b)
	lines := []string{
		"| clients | floor | helper, signs nothing, no audit log | of the floor | the same with the audit log | of the floor | floor with a signature | helper, simulated platform | of that floor |",
		"|---|---|---|---|---|---|---|---|---|",
	}
	times := []string{
		"| processor time for a request, clients | floor | helper, no audit log | helper | floor with a signature | helper, simulated |",
		"|---|---|---|---|---|---|",
	}
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			for b.Loop() {
				rate, cpu := make(map[string][]float64), make(map[string][]float64)
				for range rounds {
					for _, s := range sides() {
						f := servers[s.name].measure(b, askGiven, clients, roundTime)
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
				b.ReportMetric(0, "ns/op") // of a whole comparison: tells nothing
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

// BenchmarkSlots: a platform that needs 5 ms for a quote, with more and more slots
// that do so at a time. How long it has really taken, with what its timer and a
// busy machine add, is what the helper says; the rest is the helper's own.
func BenchmarkSlots(b *testing.B) {
	const clients = 64
	lines := []string{
		"| slots of 5 ms, 64 clients | quotes | time in a slot | slots in use |",
		"|---|---|---|---|",
	}
	for _, slots := range []int{1, 4, 8} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			socket := filepath.Join(b.TempDir(), "aesm.socket")
			h := serveHelper(b, socket, platformSlow, slots)
			for b.Loop() {
				var rates []float64
				for range rounds {
					rates = append(rates, server{socket, h.Process.Pid}.measure(b, askGiven, clients, roundTime).rate)
				}
				m := h.mustMetrics(b)
				rate, service := median(rates), m[metricServiceSum]/m[metricServed]
				used := rate * service / float64(slots)
				b.ReportMetric(rate, "req/s")
				b.ReportMetric(service*1e3, "ms-in-slot")
				b.ReportMetric(used, "slots-used")
				b.ReportMetric(0, "ns/op")
				lines = append(lines, fmt.Sprintf("| %d | %.0f/s | %.2f ms | %.0f%% |", slots, rate, service*1e3, 100*used))
			}
		})
	}
	printTable(lines)
}

// BenchmarkMemory measures what the servers have resident with 256 clients.
func BenchmarkMemory(b *testing.B) {
	const clients = 256
	servers := startSides(b)
	lines := []string{
		"| resident with 256 clients | at the end | highest |",
		"|---|---|---|",
	}
	for _, name := range []string{sideFloor, sideNull, sideSimulated} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				servers[name].measure(b, askGiven, clients, 3*roundTime)
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

// BenchmarkCheapRequests measures requests that need no slot, while 32 clients
// saturate the only one of a platform that needs 5 ms.
func BenchmarkCheapRequests(b *testing.B) {
	const clients = 32
	socket := filepath.Join(b.TempDir(), "aesm.socket")
	h := serveHelper(b, socket, platformSlow, 1)
	busy := startJob[map[asking]answers](b, roleClients, nil, 0, clientsTask{Socket: socket, Groups: map[asking]int{askGiven: clients}, Report: simulatedReport(b)})
	lines := []string{
		"| while 32 clients wait for quotes | requests | 99th percentile |",
		"|---|---|---|",
	}
	for _, what := range []asking{askKeys, askSizes} {
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
	if a := busy.stop(b)[askGiven]; a.Failed > 0 {
		b.Errorf("the clients that wait for quotes: %v", a.Failures)
	}
	printTable(lines)
}
