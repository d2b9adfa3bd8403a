package ear

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
	"github.com/confcom/confcom/tdx"
)

func simulated(t testing.TB) *attest.Verifier {
	t.Helper()
	root, err := attest.ParseRoot(simulation.RootPEM())
	if err != nil {
		t.Fatal(err)
	}
	return attest.NewVerifier(root)
}

// Every check that package attest has is about an aspect: a new one must be added to aspectOf.
func TestEveryCheckHasAnAspect(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../check.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "CheckName" {
			return true
		}
		name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if aspectOf(attest.CheckName(name)) == unknown {
			t.Errorf("%s (%q) is about no aspect", spec.Names[0].Name, name)
		}
		return true
	})
	if found < 40 {
		t.Errorf("%d checks found: this test looks at the wrong place", found)
	}
}

// For all invalid evidence, the status agrees with the verdict, and is not better than the worst
// claim.
func TestStatusOfCases(t *testing.T) {
	verifier := simulated(t)
	statuses := make(map[Status]int)
	for _, c := range attesttest.Cases() {
		q, collateral, err := c.Issue()
		if err != nil {
			t.Fatal(err)
		}
		r, err := verifier.Verify(q, collateral, c.Policy, c.At)
		if r == nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		v, status := NewVector(r, q)
		statuses[status]++
		if trusted := status == Affirming || status == Warning; trusted != r.Trusted {
			t.Errorf("%s: trusted %t, and the status is %s", c.Name, r.Trusted, status)
		}
		if v.Status().rank() > status.rank() {
			t.Errorf("%s: status %s, with the claims %+v", c.Name, status, v)
		}
		if v.FileSystem != NoClaim || v.StorageOpaque != NoClaim || v.SourcedData != NoClaim {
			t.Errorf("%s: a claim of what is never appraised: %+v", c.Name, v)
		}
		if status == None && v != (Vector{}) {
			t.Errorf("%s: nothing was appraised, and there are claims: %+v", c.Name, v)
		}
	}
	for _, status := range []Status{None, Affirming, Contraindicated} {
		if statuses[status] == 0 {
			t.Errorf("no case has the status %s: %v", status, statuses)
		}
	}
}

func TestVector(t *testing.T) {
	one := []sgx.Measurement{{1}}
	firmware := []tdx.Measurement{{1}}
	enclave := sgx.ReportBody{MREnclave: sgx.Measurement{1}, Attributes: sgx.Attributes{Flags: sgx.FlagInit | sgx.FlagMode64Bit, XFRM: 3}}
	debugged := enclave
	debugged.Attributes.Flags |= sgx.FlagDebug
	td := func(change func(*tdx.ReportBody)) *tdx.ReportBody {
		body := attesttest.TrustDomain()
		body.MRTD, body.RTMR[1], body.RTMR[2] = tdx.Measurement{1}, tdx.Measurement{1}, tdx.Measurement{1}
		if change != nil {
			change(&body)
		}
		return &body
	}
	behind := func(i *attesttest.Issuer) { i.Extension.Components[0]-- } // OutOfDate
	for _, c := range []struct {
		name         string
		enclave      sgx.ReportBody
		td           *tdx.ReportBody
		prepare      func(*attesttest.Issuer)
		tamper       func(*quote.Quote, *attest.Collateral)
		noCollateral bool
		policy       attest.Policy
		want         Vector
		status       Status
	}{
		{name: "an enclave that the policy names", enclave: enclave, policy: attest.Policy{MREnclaves: one},
			want: Vector{Configuration: 3, Executables: 3, Hardware: 2, RuntimeOpaque: 2}, status: Affirming},
		{name: "any enclave", enclave: enclave, policy: attest.Policy{AnyEnclave: true},
			want: Vector{Configuration: 3, Hardware: 2, RuntimeOpaque: 2}, status: Affirming},
		{name: "another enclave", enclave: enclave, policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}}},
			want: Vector{Configuration: 3, Executables: 96, Hardware: 2, RuntimeOpaque: 2}, status: Contraindicated},
		{name: "a debugger", enclave: debugged, policy: attest.Policy{MREnclaves: one},
			want: Vector{Configuration: 96, Executables: 3, Hardware: 2, RuntimeOpaque: 96}, status: Contraindicated},
		{name: "a debugger that is accepted", enclave: debugged, policy: attest.Policy{MREnclaves: one, AllowDebug: true},
			want: Vector{Configuration: 32, Executables: 3, Hardware: 2, RuntimeOpaque: 32}, status: Warning},
		{name: "out of date", enclave: enclave, prepare: behind, policy: attest.Policy{MREnclaves: one},
			want: Vector{Hardware: 96}, status: Contraindicated},
		{name: "out of date, accepted", enclave: enclave, prepare: behind, policy: attest.Policy{MREnclaves: one, Statuses: []attest.TCBStatus{attest.OutOfDate}},
			want: Vector{Configuration: 3, Executables: 3, Hardware: 32, RuntimeOpaque: 2}, status: Warning},
		{name: "a certificate that has expired", enclave: enclave, prepare: func(i *attesttest.Issuer) { i.PCK.Template.NotAfter = attesttest.Today().Add(-1) }, policy: attest.Policy{MREnclaves: one},
			want: Vector{Hardware: 96}, status: Contraindicated},
		{name: "a platform that the policy names", enclave: enclave, prepare: func(i *attesttest.Issuer) { _ = i.UsePlatformCA(); i.Extension.InstanceID = make([]byte, 16) },
			policy: attest.Policy{MREnclaves: one, PlatformInstances: []quote.HexBytes{make([]byte, 16)}},
			want:   Vector{InstanceIdentity: 2, Configuration: 3, Executables: 3, Hardware: 2, RuntimeOpaque: 2}, status: Affirming},
		{name: "another platform", enclave: enclave, prepare: func(i *attesttest.Issuer) { _ = i.UsePlatformCA() },
			policy: attest.Policy{MREnclaves: one, PlatformInstances: []quote.HexBytes{make([]byte, 16)}},
			want:   Vector{InstanceIdentity: 97, Configuration: 3, Executables: 3, Hardware: 2, RuntimeOpaque: 2}, status: Contraindicated},
		{name: "other report data", enclave: enclave, policy: attest.Policy{MREnclaves: one, ReportData: []byte("nonce")},
			want: Vector{Configuration: 3, Executables: 3, Hardware: 2, RuntimeOpaque: 2}, status: Contraindicated},
		{name: "a changed quote", enclave: enclave, tamper: func(q *quote.Quote, _ *attest.Collateral) { q.Enclave.ISVSVN++ }, policy: attest.Policy{MREnclaves: one},
			want: Vector{Configuration: 99, Executables: 99, Hardware: 99, RuntimeOpaque: 99}, status: Contraindicated},
		{name: "another quoting enclave", enclave: enclave, prepare: func(i *attesttest.Issuer) { i.QE.MRSigner = sgx.Measurement{1} }, policy: attest.Policy{MREnclaves: one},
			want: Vector{Hardware: 97}, status: Contraindicated},
		{name: "no collateral", enclave: enclave, noCollateral: true, policy: attest.Policy{MREnclaves: one}, status: None},
		{name: "no collateral, and another enclave", enclave: enclave, noCollateral: true, policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}}},
			want: Vector{Executables: 96}, status: Contraindicated},
		{name: "forged collateral", enclave: enclave, tamper: func(_ *quote.Quote, c *attest.Collateral) { c.TCBInfoSignature[0] ^= 1 }, policy: attest.Policy{MREnclaves: one}, status: None},
		{name: "forged collateral, and another enclave", enclave: enclave, tamper: func(_ *quote.Quote, c *attest.Collateral) { c.TCBInfoSignature[0] ^= 1 },
			policy: attest.Policy{MREnclaves: []sgx.Measurement{{2}}}, want: Vector{Executables: 96}, status: Contraindicated},

		{name: "a trust domain of which the policy names firmware and kernel", td: td(nil),
			policy: attest.Policy{TrustDomain: &attest.TDPolicy{MRTDs: firmware, RTMR1: firmware, RTMR2: firmware}},
			want:   Vector{Configuration: 3, Executables: 3, Hardware: 2, RuntimeOpaque: 2}, status: Affirming},
		{name: "a trust domain of which it names the firmware only", td: td(nil), policy: attest.Policy{TrustDomain: &attest.TDPolicy{MRTDs: firmware}},
			want: Vector{Configuration: 3, Hardware: 2, RuntimeOpaque: 2}, status: Affirming},
		{name: "a trust domain of which it names no kernel", td: td(nil), policy: attest.Policy{TrustDomain: &attest.TDPolicy{MRTDs: firmware, RTMR2: firmware}},
			want: Vector{Configuration: 3, Hardware: 2, RuntimeOpaque: 2}, status: Affirming},
		{name: "other firmware", td: td(nil), policy: attest.Policy{TrustDomain: &attest.TDPolicy{MRTDs: []tdx.Measurement{{2}}}},
			want: Vector{Configuration: 3, Executables: 96, Hardware: 2, RuntimeOpaque: 2}, status: Contraindicated},
		{name: "no trust domain is accepted", td: td(nil), policy: attest.Policy{MREnclaves: one},
			want: Vector{Configuration: 3, Executables: 96, Hardware: 2, RuntimeOpaque: 2}, status: Contraindicated},
		{name: "without SEPT_VE_DISABLE", td: td(func(b *tdx.ReportBody) { b.TDAttributes &^= tdx.AttributeSEPTVEDisable }), policy: attest.Policy{TrustDomain: &attest.TDPolicy{MRTDs: firmware}},
			want: Vector{Configuration: 96, Hardware: 2, RuntimeOpaque: 2}, status: Contraindicated},
		{name: "without SEPT_VE_DISABLE, accepted", td: td(func(b *tdx.ReportBody) { b.TDAttributes &^= tdx.AttributeSEPTVEDisable }),
			policy: attest.Policy{TrustDomain: &attest.TDPolicy{MRTDs: firmware, AllowSEPTVE: true}},
			want:   Vector{Configuration: 32, Hardware: 2, RuntimeOpaque: 2}, status: Warning},
	} {
		t.Run(c.name, func(t *testing.T) {
			newIssuer := attesttest.NewIssuer
			if c.td != nil {
				newIssuer = attesttest.NewTDXIssuer
			}
			issuer, err := newIssuer("node-1", attesttest.Today())
			if err != nil {
				t.Fatal(err)
			}
			if c.prepare != nil {
				c.prepare(issuer)
			}
			var q *quote.Quote
			if c.td != nil {
				q, err = issuer.QuoteTD(*c.td)
			} else {
				q, err = issuer.Quote(c.enclave)
			}
			if err != nil {
				t.Fatal(err)
			}
			collateral, err := issuer.Collateral()
			if err != nil {
				t.Fatal(err)
			}
			if c.tamper != nil {
				c.tamper(q, collateral)
			}
			if c.noCollateral {
				collateral = nil
			}
			r, err := simulated(t).Verify(q, collateral, c.policy, attesttest.Today())
			if r == nil {
				t.Fatal(err)
			}
			if v, status := NewVector(r, q); v != c.want || status != c.status {
				t.Errorf("%+v, %s; want %+v, %s\n%v", v, status, c.want, c.status, err)
			}
		})
	}
}

func TestClaimStatus(t *testing.T) {
	for claim, want := range map[Claim]Status{
		0: None, 1: None, -1: None, 2: Affirming, 31: Affirming, -2: Affirming, -32: Affirming,
		32: Warning, 95: Warning, -33: Warning, -96: Warning, 96: Contraindicated, 127: Contraindicated, -97: Contraindicated, -128: Contraindicated,
	} {
		if got := claim.Status(); got != want {
			t.Errorf("%d: %s, want %s", claim, got, want)
		}
	}
}
