package attest_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// subject is a quote with its collateral, and a quote of another platform with the same.
type subject struct {
	name        string
	quote, next *quote.Quote
	collateral  *attest.Collateral
	root        attest.Root
	policy      attest.Policy
	at          time.Time
}

// subjects returns genuine ones, and a simulated one.
func subjects(b *testing.B) []subject {
	all := []subject{simulated(b)}
	if _, err := os.Stat(vectors); err != nil {
		b.Logf("NOT RUN: no genuine quotes: %v", err)
		return all
	}
	every := []attest.TCBStatus{attest.SWHardeningNeeded, attest.ConfigurationAndSWHardeningNeeded, attest.OutOfDate}
	genuine := func(name, quote, next, collateral string, policy attest.Policy, at time.Time) subject {
		return subject{name, readVector(b, quote), readVector(b, next), readCollateral(b, collateral), attest.IntelRoot(), policy, at}
	}
	return append(all,
		genuine("SGX", "automata/quotev3.decoded.bin", "oasis/quote_v3_ecdsa_p256_pck_chain.bin",
			"combined/sgx_00606a000000_2025-08-25.collateral.json", attest.Policy{AnyEnclave: true, Statuses: every}, day(2025, 8, 25)),
		genuine("TDX", "phala/sample__tdx_quote", "phala/sample__tdx-quote.hex",
			"phala/sample__tdx_quote_collateral.json", attest.Policy{TrustDomain: &attest.TDPolicy{Any: true}}, day(2025, 6, 25)))
}

func simulated(b *testing.B) subject {
	quotes := make([]*quote.Quote, 2)
	var collateral *attest.Collateral
	for n, platform := range []string{"node-1", "node-2"} {
		i, err := attesttest.NewIssuer(platform, today)
		if err != nil {
			b.Fatal(err)
		}
		quotes[n], collateral = issue(b, i, sgx.ReportBody{})
	}
	return subject{"simulated", quotes[0], quotes[1], collateral, simulatedRoot(b), attest.Policy{AnyEnclave: true}, today}
}

func (s subject) verify(b *testing.B, v *attest.Verifier, q *quote.Quote) {
	r, err := v.Verify(q, s.collateral, s.policy, s.at)
	if r == nil || !r.Checks[0].Passed {
		b.Fatal(err)
	}
}

// What a verification costs, in verifications of one P-256 signature ("P-256"). Both are measured
// in turns, in processor time of the thread, and compared by their medians: the machine may be busy.
//
//   - cold: everything for the first time
//   - platform: another platform, with collateral that the verifier has seen
//   - warm: a quote of a platform that the verifier has seen
func BenchmarkVerify(b *testing.B) {
	for _, s := range subjects(b) {
		for _, known := range []struct {
			name    string
			prepare func() (*attest.Verifier, *quote.Quote)
		}{
			{"cold", func() (*attest.Verifier, *quote.Quote) { return attest.NewVerifier(s.root), s.quote }},
			{"platform", func() (*attest.Verifier, *quote.Quote) {
				v := attest.NewVerifier(s.root)
				s.verify(b, v, s.quote)
				return v, s.next
			}},
			{"warm", nil},
		} {
			b.Run(s.name+"/"+known.name, func(b *testing.B) {
				v, q := attest.NewVerifier(s.root), s.quote
				s.verify(b, v, q)
				inVerifications(b, func() time.Duration {
					if known.prepare != nil {
						v, q = known.prepare()
					}
					start := processorTime(b)
					s.verify(b, v, q)
					return processorTime(b) - start
				})
			})
		}
	}
}

// inVerifications runs a benchmark that returns the time of what is measured.
func inVerifications(b *testing.B, measure func() time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	key, digest := newKey(), make([]byte, 32)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest)
	if err != nil {
		b.Fatal(err)
	}
	var measured, verification []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		measured = append(measured, measure())
		start := processorTime(b)
		if !ecdsa.VerifyASN1(&key.PublicKey, digest, signature) {
			b.Fatal("a valid signature is refused")
		}
		verification = append(verification, processorTime(b)-start)
	}
	b.ReportMetric(float64(median(measured))/float64(median(verification)), "P-256")
	b.ReportMetric(float64(median(verification)), "ns/P-256")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// processorTime returns the processor time that this thread has used.
func processorTime(b *testing.B) time.Duration {
	var used unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Nano())
}

// The number of goroutines is that of -cpu.
func BenchmarkVerifyParallel(b *testing.B) {
	s := simulated(b)
	v := attest.NewVerifier(s.root)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.verify(b, v, s.quote)
		}
	})
}
