package quotehelper

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/confcom/confcom/internal/peer"
)

// occupantTimeout bounds the attempt to connect to the daemon that has the socket.
const occupantTimeout = time.Second

// occupant is the daemon that serves the socket in place of this one. During an update that
// is another quote helper. Any other daemon, such as Intel's aesmd, contends for the socket:
// whichever starts last has it, and has its own limits, log and quotes.
type occupant struct {
	peer    peer.Peer // where its process is visible
	program string    // "" if unknown
	foreign bool      // it is known not to be a quote helper
}

// identifyOccupant returns the daemon that serves the socket at path. What cannot be found
// out is left empty.
func identifyOccupant(path string, identify func(net.Conn) peer.Peer) occupant {
	conn, err := net.DialTimeout("unix", path, occupantTimeout)
	if err != nil {
		return occupant{}
	}
	defer conn.Close()
	// At this end of a connection, the kernel returns the process that listens.
	o := occupant{peer: identify(conn)}
	if o.peer.Process == 0 {
		return o
	}
	o.program = programOf(fmt.Sprint(o.peer.Process))
	o.foreign = o.program != "" && o.program != programOf("self")
	return o
}

// programOf returns the name of a process's program, as far as the kernel keeps it; "" if
// the process has ended.
func programOf(process string) string {
	name, err := os.ReadFile("/proc/" + process + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}

// LogValue returns what is known of the daemon.
func (o occupant) LogValue() slog.Value {
	attrs := o.peer.LogValue().Group()
	if o.program != "" {
		attrs = append([]slog.Attr{slog.String("program", o.program)}, attrs...)
	}
	if o.foreign {
		attrs = append(attrs, slog.String("advice", "stop that daemon, or give the quote helper another directory (aesmDir in the chart): each takes the socket when it starts"))
	}
	return slog.GroupValue(attrs...)
}

// level is that of a log line about the daemon.
func (o occupant) level() slog.Level {
	if o.foreign {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// unmet returns why the socket is not this daemon's.
func (o occupant) unmet() error {
	if !o.foreign {
		return errOtherDaemon
	}
	where := fmt.Sprintf("process %d", o.peer.Process)
	if o.peer.Pod != "" {
		where += " of pod " + o.peer.Pod
	}
	return fmt.Errorf("%w: %s, %s: stop it, or put the helper in front of it (--platform=upstream)", errOtherDaemon, o.program, where)
}

// Metrics are the metrics of the socket.
type Metrics struct{ contended prometheus.Gauge }

// NewMetrics creates the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{contended: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sgx_quote_helper_socket_contended",
		Help: "1 once another daemon than a quote helper, such as aesmd, has been seen at the socket, else 0.",
	})}
	registry.MustRegister(m.contended)
	return m
}

// meet finds out which daemon serves the socket in place of this one.
func (o *socketOwner) meet() occupant {
	other := identifyOccupant(o.path, o.identify)
	o.owned.Set(other.unmet())
	if other.foreign {
		o.metrics.contended.Set(1)
	}
	return other
}
