package quote

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/tdx"
)

// policyFlags is the appraisal policy of a command line: a file, and flags that
// override its fields.
type policyFlags struct {
	file      *pflag.Flag
	overrides []func(*attest.Policy)
}

// read returns the policy of the file with the fields that flags have set. Whether
// the policy makes sense is checked by the verifier: flags may complete the file.
func (f *policyFlags) read() (attest.Policy, error) {
	var p attest.Policy
	if f.file.Changed {
		name := f.file.Value.String()
		text, err := os.ReadFile(name)
		if err != nil {
			return p, fmt.Errorf("--policy: %w", err)
		}
		if err := p.UnmarshalJSON(text); err != nil {
			return p, fmt.Errorf("--policy=%s: %w", name, err)
		}
	}
	for _, override := range f.overrides {
		override(&p)
	}
	return p, nil
}

func (f *policyFlags) addFlags(flags *pflag.FlagSet) {
	flags.String("policy", "", "appraisal policy `file` (JSON); other flags override it")
	f.file = flags.Lookup("policy")

	list(f, flags, "accept-status", "status", parseStatus, func(p *attest.Policy) *[]attest.TCBStatus { return &p.Statuses },
		"also accept platforms with this TCB status, such as SWHardeningNeeded; repeatable")
	list(f, flags, "accept-advisory", "advisory", parseAdvisories, func(p *attest.Policy) *[]string { return &p.Advisories },
		"if the platform is not up to date, accept only these advisories, such as INTEL-SA-00615; repeatable")
	list(f, flags, "refuse-advisory", "advisory", parseAdvisories, func(p *attest.Policy) *[]string { return &p.RefusedAdvisories },
		"never accept a platform to which this advisory applies; repeatable")
	value(f, flags, "min-tcb-date", "date", attest.ParseDate, func(p *attest.Policy) *time.Time { return &p.MinTCBDate },
		"require that the platform has all updates up to this date, such as 2025-01-31")
	value(f, flags, "allow-debug", "bool", strconv.ParseBool, func(p *attest.Policy) *bool { return &p.AllowDebug },
		"accept enclaves and trust domains that a debugger can read")
	list(f, flags, "mrenclave", "hex", parseMeasurement, func(p *attest.Policy) *[]sgx.Measurement { return &p.MREnclaves },
		"require this MRENCLAVE; repeat to accept several")
	list(f, flags, "mrsigner", "hex", parseMeasurement, func(p *attest.Policy) *[]sgx.Measurement { return &p.MRSigners },
		"require this MRSIGNER; repeat to accept several")
	value(f, flags, "any-enclave", "bool", strconv.ParseBool, func(p *attest.Policy) *bool { return &p.AnyEnclave },
		"accept any enclave")
	value(f, flags, "product", "uint16", parseProduct, func(p *attest.Policy) **uint16 { return &p.ISVProdID },
		"require this product ID (ISVPRODID) of the signer")
	value(f, flags, "min-svn", "uint16", parseUint16, func(p *attest.Policy) *uint16 { return &p.MinISVSVN },
		"require at least this security version (ISVSVN) of the enclave")
	f.addTrustDomainFlags(flags)
	value(f, flags, "report-data", "hex", parseHex, func(p *attest.Policy) *quote.HexBytes { return &p.ReportData },
		"require this report data, such as a nonce, padded with zeros")
	value(f, flags, "max-collateral-age", "duration", time.ParseDuration, func(p *attest.Policy) *time.Duration { return &p.MaxCollateralAge },
		"require TCB info, QE identity and PCK CRL issued no longer ago than this")
	value(f, flags, "accept-expired", "bool", strconv.ParseBool, func(p *attest.Policy) *bool { return &p.AcceptExpired },
		"accept TCB info and QE identity after their nextUpdate, within --max-collateral-age")
	value(f, flags, "min-evaluation-data-number", "int", parseInt, func(p *attest.Policy) *int { return &p.MinEvaluationDataNumber },
		"require at least this tcbEvaluationDataNumber of the collateral")
}

// addTrustDomainFlags declares the flags that override the part for trust domains, or make
// one.
func (f *policyFlags) addTrustDomainFlags(flags *pflag.FlagSet) {
	for _, l := range []struct {
		name, usage string
		field       func(*attest.TDPolicy) *[]tdx.Measurement
	}{
		{"mrtd", "require this MRTD of a trust domain; repeat to accept several", func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.MRTDs }},
		{"rtmr0", "require this RTMR0 of a trust domain; repeatable", func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.RTMR0 }},
		{"rtmr1", "require this RTMR1 of a trust domain; repeatable", func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.RTMR1 }},
		{"rtmr2", "require this RTMR2 of a trust domain; repeatable", func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.RTMR2 }},
		{"rtmr3", "require this RTMR3 of a trust domain; repeatable", func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.RTMR3 }},
		{"mrseam", "require this MRSEAM, the hash of the TDX module; repeatable", func(p *attest.TDPolicy) *[]tdx.Measurement { return &p.MRSEAMs }},
	} {
		list(f, flags, l.name, "hex", parseTDMeasurement, trustDomain(l.field), l.usage)
	}
	for _, b := range []struct {
		name, usage string
		field       func(*attest.TDPolicy) *bool
	}{
		{"any-trust-domain", "accept any trust domain", func(p *attest.TDPolicy) *bool { return &p.Any }},
		{"allow-sept-ve", "accept trust domains without SEPT_VE_DISABLE", func(p *attest.TDPolicy) *bool { return &p.AllowSEPTVE }},
		{"allow-migratable", "accept trust domains that can be moved to another platform", func(p *attest.TDPolicy) *bool { return &p.AllowMigratable }},
	} {
		value(f, flags, b.name, "bool", strconv.ParseBool, trustDomain(b.field), b.usage)
	}
}

// trustDomain returns a field of the part of a policy for trust domains, which it makes if
// there is none.
func trustDomain[T any](field func(*attest.TDPolicy) *T) func(*attest.Policy) *T {
	return func(p *attest.Policy) *T {
		if p.TrustDomain == nil {
			p.TrustDomain = new(attest.TDPolicy)
		}
		return field(p.TrustDomain)
	}
}

// value declares a flag that overrides a field of the policy.
func value[T any](f *policyFlags, flags *pflag.FlagSet, name, kind string, parse func(string) (T, error), field func(*attest.Policy) *T, usage string) {
	o := &override[T]{kind: kind, parse: parse}
	flag := flags.VarPF(o, name, "", usage)
	if kind == "bool" {
		flag.NoOptDefVal = "true"
	}
	f.overrides = append(f.overrides, func(p *attest.Policy) {
		if o.given != nil {
			*field(p) = *o.given
		}
	})
}

// list declares a flag that overrides a field of the policy which is a list. The flag
// can be repeated.
func list[T any](f *policyFlags, flags *pflag.FlagSet, name, kind string, parse func(string) ([]T, error), field func(*attest.Policy) *[]T, usage string) {
	given := []T{} // not nil: a list that is given empty accepts nothing
	value(f, flags, name, kind, func(text string) ([]T, error) {
		more, err := parse(text)
		given = append(given, more...)
		return given, err
	}, field, usage)
}

// override is a flag's value, if the flag is given.
type override[T any] struct {
	kind  string
	parse func(string) (T, error)
	given *T
}

func (o *override[T]) Type() string { return o.kind }

func (o *override[T]) String() string {
	if o.given == nil {
		return ""
	}
	return fmt.Sprint(*o.given)
}

func (o *override[T]) Set(text string) error {
	v, err := o.parse(text)
	if err == nil {
		o.given = &v
	}
	return err
}

func parseStatus(text string) ([]attest.TCBStatus, error) {
	var s attest.TCBStatus
	err := s.UnmarshalText([]byte(text))
	return []attest.TCBStatus{s}, err
}

// parseAdvisories reads advisories that are separated by commas. Without any, none is
// accepted.
func parseAdvisories(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, ","), nil
}

func parseMeasurement(text string) ([]sgx.Measurement, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(sgx.Measurement{}) {
		return nil, fmt.Errorf("not %d hexadecimal digits", 2*len(sgx.Measurement{}))
	}
	return []sgx.Measurement{sgx.Measurement(b)}, nil
}

func parseTDMeasurement(text string) ([]tdx.Measurement, error) {
	var m tdx.Measurement
	if err := m.UnmarshalText([]byte(text)); err != nil {
		return nil, fmt.Errorf("not %d hexadecimal digits", 2*len(m))
	}
	return []tdx.Measurement{m}, nil
}

func parseProduct(text string) (*uint16, error) {
	id, err := parseUint16(text)
	return &id, err
}

func parseUint16(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 0, 16)
	if err != nil {
		return 0, errors.New("not a number from 0 to 65535")
	}
	return uint16(n), nil
}

func parseInt(text string) (int, error) {
	n, err := strconv.ParseInt(text, 0, 0)
	if err != nil {
		return 0, errors.New("not a number")
	}
	return int(n), nil
}

func parseHex(text string) (quote.HexBytes, error) {
	b, err := hex.DecodeString(strings.TrimSpace(text))
	switch {
	case err != nil:
		return nil, errors.New("not hexadecimal")
	case len(b) == 0:
		return nil, errors.New("empty: omit the flag to require nothing")
	}
	return b, nil
}
