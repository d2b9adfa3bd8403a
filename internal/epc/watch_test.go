package epc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/node/nodetest"
)

// A failed discovery is reported and changes nothing that is advertised. A change
// that could not be handled is reported and handled again.
func TestWatch(t *testing.T) {
	root := nodetest.Tree{
		"sys/devices/system/node/node0/x86/sgx_total_bytes": "67108864\n",
		"dev/sgx_enclave": nodetest.Device,
	}.Make(t)
	sections := filepath.Join(root, "sys/devices/system/node")

	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var polls []bool
		var capacities []Capacity
		ctx, stop := context.WithCancel(t.Context())
		var full atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			Policy{}.Watch(ctx, node.Machine{Sysroot: root}, slog.New(slog.NewTextHandler(&log, nil)),
				func(err error) { polls = append(polls, err == nil) },
				func(_ node.Inventory, c Capacity) error {
					capacities = append(capacities, c)
					if full.Load() {
						return errors.New("the disk is full")
					}
					return nil
				})
		}()
		poll := func() {
			time.Sleep(pollInterval)
			synctest.Wait()
		}
		synctest.Wait()
		nodetest.Put(t, filepath.Join(sections, "node1/x86/sgx_total_bytes"), "many")
		poll()
		poll()
		nodetest.Put(t, filepath.Join(sections, "node1/x86/sgx_total_bytes"), "67108864\n")
		poll()
		poll()
		full.Store(true)
		nodetest.Put(t, filepath.Join(sections, "node2/x86/sgx_total_bytes"), "67108864\n")
		poll()
		poll()
		full.Store(false)
		poll()
		poll()
		stop()
		<-done

		if diff := cmp.Diff([]bool{true, false, true, false, false, true}, polls); diff != "" {
			t.Errorf("polls: %s", diff)
		}
		three := Capacity{Mode: Devices, MiB: 192}
		if diff := cmp.Diff([]Capacity{{Mode: Devices, MiB: 64}, {Mode: Devices, MiB: 128}, three, three, three}, capacities); diff != "" {
			t.Errorf("capacities: %s", diff)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "not a number of bytes") || !strings.Contains(log.String(), "the disk is full") {
			t.Errorf("log: %s", &log)
		}
	})
}
