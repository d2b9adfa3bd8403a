package quoting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/quoting/targets"
	"github.com/confcom/confcom/sgx"
)

// After the quoting enclave was replaced, and only then, an invalid report is answered
// with the code on which clients fetch the target again.
func TestInvalidReport(t *testing.T) {
	cause := errors.New("wrong MAC")
	invalid := fmt.Errorf("%w: %w", aesm.CodeInvalidReport, cause)
	failure := &Failure{LayerClient, aesm.CodeInvalidReport, cause, "do something"}
	for _, tt := range []struct {
		name    string
		before  int // the quoting enclave before a restart of the helper; 0 for none
		seen    []int
		now     int // what InitQuote would return when the report comes
		err     error
		want    Failure
		advises bool // to fetch the target again
	}{
		{name: "never replaced", seen: []int{1, 1}, now: 1, err: invalid, want: Failure{LayerClient, aesm.CodeInvalidReport, cause, ""}},
		{name: "never replaced, failure", seen: []int{1}, now: 1, err: failure, want: *failure},
		{name: "not asked yet", now: 1, err: invalid, want: Failure{LayerClient, aesm.CodeInvalidReport, cause, ""}},
		{name: "InitQuote fails", now: -1, err: invalid, want: Failure{LayerClient, aesm.CodeInvalidReport, cause, ""}},
		{name: "replaced", seen: []int{1, 2}, now: 2, err: invalid, want: Failure{LayerClient, aesm.CodeAttKeyNotInitialized, cause, adviceTarget}},
		{name: "replaced, failure", seen: []int{1, 2}, now: 2, err: failure, want: Failure{LayerClient, aesm.CodeAttKeyNotInitialized, cause, adviceTarget}},
		{name: "replaced unnoticed", seen: []int{1}, now: 2, err: invalid, want: Failure{LayerClient, aesm.CodeAttKeyNotInitialized, cause, adviceTarget}},
		{name: "replaced before a restart", before: 1, seen: []int{2}, now: 2, err: invalid, want: Failure{LayerClient, aesm.CodeAttKeyNotInitialized, cause, adviceTarget}},
		{name: "replaced before a restart, unnoticed", before: 1, now: 2, err: invalid, want: Failure{LayerClient, aesm.CodeAttKeyNotInitialized, cause, adviceTarget}},
		{name: "restarted only", before: 1, seen: []int{1}, now: 1, err: invalid, want: Failure{LayerClient, aesm.CodeInvalidReport, cause, ""}},
		{name: "another error", seen: []int{1, 2}, now: 2, err: aesm.CodeNetwork, want: Failure{LayerNetwork, aesm.CodeNetwork, aesm.CodeNetwork, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "targets")
			synctest.Test(t, func(t *testing.T) {
				log := slog.New(slog.DiscardHandler)
				if tt.before != 0 {
					targets.Open(path, log).Learn(target(tt.before))
				}
				current := 0
				s := NewService(&stub{
					init: func(context.Context) (aesm.Initialized, error) {
						if current < 0 {
							return aesm.Initialized{}, aesm.CodeNetwork
						}
						return aesm.Initialized{TargetInfo: target(current)}, nil
					},
					quote: func(context.Context) (aesm.Quoted, error) { return aesm.Quoted{}, tt.err },
				}, 1, nil)
				s.Remember(targets.Open(path, log))
				for _, current = range tt.seen {
					if _, err := s.InitQuote(t.Context(), aesm.Caller{}, s.keys[0]); err != nil {
						t.Fatal(err)
					}
				}
				current = tt.now
				time.Sleep(targetInterval)
				for range 2 {
					err := quoteAs(t.Context(), s, "")
					expectFailure(t, err, tt.want)
					if code, _ := errors.AsType[aesm.Code](err); code != tt.want.Code {
						t.Errorf("the client gets %v, want %v", code, tt.want.Code)
					}
				}
				expectIdle(t, s.queue)
			})
		})
	}
}

func target(n int) (t sgx.TargetInfo) {
	t.MREnclave[0] = byte(n)
	return t
}

// A client with invalid reports makes the backend return its target once a second.
func TestInvalidReportsAskRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := NewService(&stub{
			init:  func(context.Context) (aesm.Initialized, error) { asked++; return aesm.Initialized{}, nil },
			quote: func(context.Context) (aesm.Quoted, error) { return aesm.Quoted{}, aesm.CodeInvalidReport },
		}, 1, nil)
		for range 30 {
			if err := quoteAs(t.Context(), s, ""); !errors.Is(err, aesm.CodeInvalidReport) {
				t.Error(err)
			}
			time.Sleep(targetInterval / 10)
		}
		if asked != 3 {
			t.Errorf("asked %d times in 3 s, want 3", asked)
		}
	})
}

// Many invalid reports at once make the backend return its target once, and all of them get
// the answer that it leads to. So do those that come while it fails to.
func TestInvalidReportsAskTogether(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail error
		want aesm.Code
	}{
		{"replaced", nil, aesm.CodeAttKeyNotInitialized},
		{"no answer", aesm.CodeNetwork, aesm.CodeInvalidReport},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				s := NewService(&stub{
					init: func(context.Context) (aesm.Initialized, error) {
						asked.Add(1)
						time.Sleep(targetInterval / 10)
						return aesm.Initialized{TargetInfo: target(2)}, tt.fail
					},
					quote: func(context.Context) (aesm.Quoted, error) { return aesm.Quoted{}, aesm.CodeInvalidReport },
				}, 8, nil)
				s.targets.Learn(target(1))
				time.Sleep(targetInterval)
				var requests sync.WaitGroup
				for range 16 {
					requests.Go(func() {
						err := quoteAs(t.Context(), s, "")
						if code, _ := errors.AsType[aesm.Code](err); code != tt.want {
							t.Errorf("%v, want %v", err, tt.want)
						}
					})
				}
				requests.Wait()
				if n := asked.Load(); n != 1 {
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}
