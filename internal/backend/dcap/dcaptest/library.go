package dcaptest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// The files of a Library.
const (
	QuotingLibrary = "libsgx_dcap_ql.so.1"
	QE3Logic       = "libsgx_qe3_logic.so"
	PCELogic       = "libsgx_pce_logic.so.1"
	Provider       = "libdcap_quoteprov.so.1"
	AzureProvider  = "libdcap_quoteprov.so" // only after UseAzureProvider

	QE3       = "libsgx_qe3.signed.so.1"
	IDEnclave = "libsgx_id_enclave.signed.so.1"
	PCE       = "libsgx_pce.signed.so.1"

	// Platform is the provider's data, in its directory. It is read at each call.
	Platform = "libdcap_quoteprov.platform"

	otherPlatform = "libdcap_quoteprov.other"
)

// Library is a directory with the stand-in's libraries and enclaves. It is not safe
// for concurrent use, but processes may use the files meanwhile.
type Library struct {
	Dir      string
	node     string
	compiled string // the directory that the libraries were copied from
	qes      int    // the number of QEs so far
	lowered  int    // the number of times that the TCB was lowered
}

// Build fills dir, which must exist, with the libraries and with the enclaves of the
// simulated platform of a node. It compiles the libraries unless they are in this
// user's cache. The error is ErrNoCompiler if the machine has no compiler or no
// OpenSSL.
func Build(dir, node string) (*Library, error) {
	compiled, err := compile()
	if err != nil {
		return nil, err
	}
	l := &Library{Dir: dir, compiled: compiled}
	for _, name := range []string{QuotingLibrary, QE3Logic, PCELogic, Provider} {
		if err := l.install(name); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{IDEnclave, PCE} {
		if err := l.replace(name, []byte("stands for "+name+"\n")); err != nil {
			return nil, err
		}
	}
	return l, l.UpdateQE(node)
}

// install copies a compiled library.
func (l *Library) install(name string) error {
	data, err := os.ReadFile(filepath.Join(l.compiled, name))
	if err != nil {
		return fmt.Errorf("dcaptest: %w", err)
	}
	return l.replace(name, data)
}

// UseAzureProvider replaces the provider by one with the name and the interface of
// Azure's: it logs through another function and can be told nothing about its cache.
func (l *Library) UseAzureProvider() error {
	if err := l.install(AzureProvider); err != nil {
		return err
	}
	if err := os.Remove(l.Path(Provider)); err != nil {
		return fmt.Errorf("dcaptest: %w", err)
	}
	return nil
}

// Path returns the path of one of the files.
func (l *Library) Path(name string) string { return filepath.Join(l.Dir, name) }

// Env returns the environment with which a process finds the provider by its name.
// The quoting library finds the rest in its own directory.
func (l *Library) Env() []string { return []string{"LD_LIBRARY_PATH=" + l.Dir} }

// Update replaces libsgx_qe3_logic.so by a new file, as the update of a package
// does. It works the same, but its bytes depend on version. Processes that have loaded
// the old file keep it.
func (l *Library) Update(version int) error {
	data, err := os.ReadFile(filepath.Join(l.compiled, QE3Logic))
	if err != nil {
		return fmt.Errorf("dcaptest: %w", err)
	}
	// The dynamic linker ignores what follows the last section.
	return l.replace(QE3Logic, fmt.Appendf(data, "\nversion %d\n", version))
}

// UpdateQE replaces the QE by one with another MRENCLAVE, which refuses reports for the
// old one. For the same node it has the same key; another node is another platform, to
// the provider as well. A process reads the file when it loads the enclave.
//
// The QE's report in a quote keeps the MRENCLAVE of the simulated platform, whose
// PCK has signed it.
func (l *Library) UpdateQE(node string) error {
	p, err := newIdentity(node)
	if err != nil {
		return err
	}
	p.target.MREnclave[0] ^= byte(l.qes)
	l.qes++
	l.node = node
	qe, err := p.qe()
	if err != nil {
		return err
	}
	if err := l.replace(QE3, qe); err != nil {
		return err
	}
	return l.replace(Platform, p.platform(l.lowered))
}

// AddOtherPlatform gives the provider the certificates of another node's platform, at the
// same TCB, for the failure mode answer-other-platform.
func (l *Library) AddOtherPlatform(node string) error {
	p, err := newIdentity(node)
	if err != nil {
		return err
	}
	return l.replace(otherPlatform, p.platform(0))
}

// LowerTCB makes the provider name a lower PCE SVN: keys that were certified before must
// be initialized again. The PCK certificate is the same, so it is for another TCB.
func (l *Library) LowerTCB() error {
	p, err := newIdentity(l.node)
	if err != nil {
		return err
	}
	l.lowered++
	return l.replace(Platform, p.platform(l.lowered))
}

// replace writes a file atomically.
func (l *Library) replace(name string, data []byte) error {
	if err := renameio.WriteFile(l.Path(name), data, 0o755, renameio.WithTempDir(l.Dir), renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("dcaptest: %w", err)
	}
	return nil
}
