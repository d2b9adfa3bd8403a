package nodestatus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/epc"
	"github.com/confcom/confcom/internal/nodeguard"
)

const (
	// probeInterval is the time between two probes of the AESM socket, which is that of the
	// quote helper's own check.
	probeInterval = 10 * time.Second
	// probeTimeout bounds each request of a probe: clients wait as long.
	probeTimeout = 15 * time.Second
	// maxProbeFailures is the number of consecutive failures after which there are no
	// quotes: one may be that of a helper that is being replaced.
	maxProbeFailures = 2
)

// reasonNoSGX is the reason of the condition of a node that is not expected to have quotes.
const reasonNoSGX = "NoSGX"

// prober makes the requests that precede a quote.
type prober interface {
	InitQuote(ctx context.Context, key aesm.KeyID) (aesm.Initialized, error)
	QuoteSize(ctx context.Context, key aesm.KeyID) (int, error)
}

// newProber returns a client of the AESM socket at path, whose requests do not count as those
// of applications, and which also asks what makes the quotes.
func newProber(path string) prober {
	return &aesm.Client{Socket: path, Timeout: probeTimeout, Probe: true, DescribeBackend: true}
}

// quotesWriter keeps the node's condition up to date that says whether clients can get
// quotes, and reports when something else makes them. It asks the AESM socket, as a client
// does: what it learns is true whatever daemon serves there, and also if none does. The daemon
// needs no connection to the API server for that.
type quotesWriter struct {
	nodeClient
	socket prober // nil for no condition
	read   func() (epc.Advertisement, error)

	condition conditionWriter
	failures  int // consecutive
	logged    string
	recalled  bool    // whether last is what the condition of the node says
	last      *origin // of the last quotes, nil if that is not known
}

// run probes and writes until ctx is done. Without a socket it removes the condition, which
// may be left from before, and returns.
func (q *quotesWriter) run(ctx context.Context) {
	for {
		err := q.step(ctx)
		if ctx.Err() != nil || err == nil && q.socket == nil {
			return
		}
		// The other writer logs the same if the node is unguarded.
		if err != nil && err.Error() != q.logged && !errors.Is(err, nodeguard.ErrUnguarded) {
			q.log.Warn("write node condition failed, retrying", "condition", quotesCondition, "error", err)
		}
		q.logged = ""
		if err != nil {
			q.metrics.failures.Inc()
			q.logged = err.Error()
		}
		if pause(ctx, jitter(probeInterval)) != nil {
			return
		}
	}
}

// step probes once and writes what that shows.
func (q *quotesWriter) step(ctx context.Context) error {
	if q.socket == nil {
		if err := q.checkGuard(ctx); err != nil {
			return err
		}
		return q.condition.remove(ctx, &q.nodeClient, quotesCondition)
	}
	c, now, known := q.probe(ctx)
	if ctx.Err() != nil || !known {
		return nil
	}
	q.metrics.observeQuotes(c)
	if err := q.checkGuard(ctx); err != nil {
		return err
	}
	if err := q.recall(ctx); err != nil {
		return err
	}
	var event condition
	changed := false
	if last := q.last; now == nil {
		now = last
	} else if last != nil {
		*now = now.after(*last)
		event, changed = now.changeFrom(*last)
	}
	if now != nil {
		c.message += originMark + now.String()
	}
	if err := q.condition.write(ctx, &q.nodeClient, c, time.Now()); err != nil {
		return err
	}
	q.last = now
	if changed {
		q.createEvent(ctx, event, time.Now())
	}
	return nil
}

// recall learns from the condition of the node what made the last quotes, once.
func (q *quotesWriter) recall(ctx context.Context) error {
	if q.recalled {
		return nil
	}
	node, err := q.request(ctx, types.MergePatchType, struct{}{}) // see conditionWriter.write
	if err != nil {
		return err
	}
	if last, found := parseOrigin(findCondition(node, quotesCondition).message); found {
		q.last = &last
	}
	q.recalled = true
	return nil
}

// probe probes once. It reports whether the condition is known: one failure says little, and
// a daemon that is busy serves others. If there are quotes, it returns what makes them.
func (q *quotesWriter) probe(ctx context.Context) (c condition, o *origin, known bool) {
	key := aesm.IntelQE3KeyID()
	ready, err := q.socket.InitQuote(ctx, key)
	if err == nil {
		_, err = q.socket.QuoteSize(ctx, key)
	}
	switch {
	case errors.Is(err, aesm.CodeBusy):
		q.failures = 0
		return condition{}, nil, false
	case err != nil:
		q.failures++
		return q.failed(err), nil, q.failures >= maxProbeFailures
	}
	q.failures = 0
	now := originOf(ready)
	return condition{kind: quotesCondition, available: true, reason: "SocketAnswers", message: "the daemon at the AESM socket makes quotes"}, &now, true
}

// failed returns the condition of a node that clients get no quotes on.
func (q *quotesWriter) failed(err error) condition {
	c := condition{kind: quotesCondition, reason: "NoAnswer", message: err.Error(), warning: true}
	if code, ok := errors.AsType[aesm.Code](err); ok {
		c.reason = reasonOf(code)
		c.message = fmt.Sprintf("the daemon at the AESM socket answers %s (%d)", code.String(), uint32(code))
		if advice := code.OperatorAdvice(); advice != "" {
			c.message += ": " + advice
		}
		c.message += ". The log of sgx-quote-helper on this node has the cause"
		return c
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return c
	}
	c.reason = "NoQuoteHelper"
	c.message = "nothing serves the AESM socket: check the pod of sgx-quote-helper on this node"
	// The helper idles on a node without SGX.
	if a, err := q.read(); err == nil && a.State == epc.StateNone {
		c.reason, c.warning = reasonNoSGX, false
		c.message = "this node has no EPC, and nothing serves the AESM socket"
	}
	return c
}

// reasonOf returns the name of a code in camel case, as reasons are.
func reasonOf(code aesm.Code) string {
	name := code.String()
	if strings.ContainsAny(name, "()") {
		return "UnknownError" // a number without a name
	}
	var reason strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		if word != "" {
			reason.WriteString(word[:1] + strings.ToLower(word[1:]))
		}
	}
	return reason.String() + "Error"
}

// remove removes the condition if the node has it.
func (w *conditionWriter) remove(ctx context.Context, n *nodeClient, kind string) error {
	node, err := n.patch(ctx, types.MergePatchType, struct{}{})
	if err != nil {
		return err
	}
	if findCondition(node, kind).status == "" {
		return nil
	}
	_, err = n.patch(ctx, types.StrategicMergePatchType, map[string]any{
		"status": map[string]any{"conditions": []map[string]string{{"type": kind, "$patch": "delete"}}},
	})
	return err
}
