package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

func (d *Doctor) client() *aesm.Client {
	return &aesm.Client{Socket: d.Socket, Timeout: d.Timeout, Probe: true}
}

// refused returns the problem of a failed request to the quote helper, with the cause that
// the helper reports here, if it does, and otherwise with the advice of the error.
func (d *Doctor) refused(err error) Check {
	seen, advice := err.Error(), ""
	if transport, ok := errors.AsType[*aesm.TransportError](err); ok {
		seen, advice = d.unconnected(transport)
	} else if refusal, ok := errors.AsType[*aesm.Error](err); ok {
		seen, advice = fmt.Sprintf("%s: %s (%d)", refusal.Op, refusal.Code.String(), uint32(refusal.Code)), refusal.Code.OperatorAdvice()
		if d.Place == Application {
			advice = refusal.Code.Advice()
		}
	}
	reasons, better := d.lacks()
	switch {
	case reasons == "" || d.Told.Daemon != helperName:
	case d.showsHelper:
		advice = "see the check helper for the cause"
	default:
		seen, advice = seen+"; the quote helper reports "+reasons, better
	}
	return problem(seen, cmp.Or(advice, "see the quote helper's log for the cause"))
}

// unconnected returns why a request did not arrive, and what to do. It examines the path of
// the socket, of which the error says little.
func (d *Doctor) unconnected(err *aesm.TransportError) (seen, advice string) {
	seen, advice = fmt.Sprintf("%s: %v", err.Socket, err.Err), err.Advice()
	info, failed := os.Stat(err.Socket)
	if failed != nil {
		if link, e := os.Lstat(err.Socket); e == nil && link.Mode()&fs.ModeSymlink != 0 {
			return dangling(err.Socket), "remove the link and restart the quote helper"
		}
		return seen, advice
	}
	access, known := node.AccessOf(info)
	switch {
	case info.IsDir():
		return err.Socket + " is a directory, not a socket",
			"mount the directory " + filepath.Dir(err.Socket) + " instead of the socket: a container runtime creates a directory where it is to mount a socket that does not exist; remove it on the node, then restart the quote helper"
	case info.Mode()&fs.ModeSocket == 0:
		return err.Socket + " is a file, not a socket", "remove it on the node, then restart the quote helper"
	case errors.Is(err.Err, fs.ErrPermission) && known && access.Allows(os.Getuid(), groups()):
		return seen, "owner and mode permit it, so something else forbids it: search the node's kernel log (dmesg) and audit log for denials of SELinux or AppArmor"
	case errors.Is(err.Err, fs.ErrPermission) && known:
		return fmt.Sprintf("%s (%s), as user %d in groups %v", seen, access, os.Getuid(), groups()), "another daemon than the quote helper has made the socket: its mode must be 0777, or the process in its group"
	}
	return seen, advice
}

// socket checks that a daemon answers on the socket.
func (d *Doctor) socket(ctx context.Context) Check {
	if _, err := d.client().SelectKeyID(ctx); err != nil {
		return d.refused(err)
	}
	return ok(d.Socket + " answers")
}

// quote checks that a quote can be obtained. It can only make reports of a simulated
// processor; on hardware, it checks everything that precedes a quote.
func (d *Doctor) quote(ctx context.Context) Check {
	client, key := d.client(), aesm.IntelQE3KeyID()
	ready, err := client.InitQuote(ctx, key)
	if err != nil {
		return d.refused(err)
	}
	size, err := client.QuoteSize(ctx, key)
	if err != nil {
		return d.refused(err)
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{}, ready.TargetInfo)
	if err != nil {
		return problem(err.Error(), "please report this bug")
	}
	quoted, err := client.GetQuote(ctx, key, report, size, nil)
	seen := fmt.Sprintf("the attestation key is ready, and quotes have %d bytes; only an enclave can request a complete one", size)
	switch {
	case errors.Is(err, aesm.CodeInvalidReport):
		return ok(seen) // the quoting enclave has checked the report: it is not from this processor
	case errors.Is(err, aesm.CodeAttKeyNotInitialized):
		// The key has just been initialized. So this is the quote helper's answer to an
		// invalid report on such a node.
		return ok(fmt.Sprintf("%s. The answer to an invalid report is %v: the node has had another quoting enclave since it booted. "+
			"Applications that still have its target info must repeat InitQuoteEx", seen, aesm.CodeAttKeyNotInitialized))
	}
	if err != nil {
		return d.refused(err)
	}
	if _, err := quote.Parse(quoted.Quote); err != nil {
		return problem(err.Error(), "please report this bug")
	}
	return warning(fmt.Sprintf("SIMULATED quotes of %d bytes, which prove nothing", size), "for genuine quotes, run the quote helper with --platform=dcap on SGX hardware")
}
