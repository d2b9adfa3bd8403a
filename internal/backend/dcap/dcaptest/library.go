package dcaptest

import (
	"fmt"
	"os"
	"path/filepath"
)

// The files of a Library.
const (
	QuotingLibrary = "libsgx_dcap_ql.so.1"
	QE3Logic       = "libsgx_qe3_logic.so.1"
	Provider       = "libdcap_quoteprov.so.1"

	QE3       = "libsgx_qe3.signed.so.1"
	IDEnclave = "libsgx_id_enclave.signed.so.1"
	PCE       = "libsgx_pce.signed.so.1"

	// Platform is what the provider knows, beside it. It is read at each call.
	Platform = "libdcap_quoteprov.platform"
)

// Library is a directory with the stand-in's libraries and enclaves. It is not
// safe for concurrent use; processes may use the files meanwhile.
type Library struct {
	Dir      string
	node     string
	compiled string // where the libraries were copied from
	qes      int    // how many QEs there have been
	raised   int    // how often the TCB was raised
}

// Build fills dir, which must exist, with the libraries and with the enclaves of
// the simulated platform of a node. It compiles the libraries unless that was done
// before on this machine. An error is ErrNoCompiler if the machine lacks what that
// takes.
func Build(dir, node string) (*Library, error) {
	compiled, err := compile()
	if err != nil {
		return nil, err
	}
	l := &Library{Dir: dir, compiled: compiled}
	for _, name := range []string{QuotingLibrary, QE3Logic, Provider} {
		data, err := os.ReadFile(filepath.Join(compiled, name))
		if err != nil {
			return nil, fmt.Errorf("dcaptest: %w", err)
		}
		if err := l.replace(name, data); err != nil {
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

// Path returns the path of one of the files.
func (l *Library) Path(name string) string { return filepath.Join(l.Dir, name) }

// Env returns what a process needs in its environment to find the provider without
// being told its path. The quoting library finds the rest beside itself.
func (l *Library) Env() []string { return []string{"LD_LIBRARY_PATH=" + l.Dir} }

// Update replaces libsgx_qe3_logic.so.1 by a new file, as the update of a package
// does: it does the same, but has other bytes for each version. Processes that have
// loaded the old one keep it.
func (l *Library) Update(version int) error {
	data, err := os.ReadFile(filepath.Join(l.compiled, QE3Logic))
	if err != nil {
		return fmt.Errorf("dcaptest: %w", err)
	}
	// The dynamic linker does not look behind the end of the last section.
	return l.replace(QE3Logic, fmt.Appendf(data, "\nversion %d\n", version))
}

// UpdateQE replaces the QE by one with another MRENCLAVE, so that reports for the
// old one are refused. Of the same node it has the same key; of another node, it is
// another platform, for the provider as well. A process reads the file when it
// loads the enclave.
//
// The QE's report in a quote keeps the MRENCLAVE of the simulated platform, whose
// PCK has signed it.
func (l *Library) UpdateQE(node string) error {
	p, err := newPersonality(node)
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
	return l.replace(Platform, p.platform(l.raised))
}

// RaiseTCB has the provider tell a higher PCE SVN, as after a TCB recovery: keys
// that were certified before have to be initialized again.
func (l *Library) RaiseTCB() error {
	p, err := newPersonality(l.node)
	if err != nil {
		return err
	}
	l.raised++
	return l.replace(Platform, p.platform(l.raised))
}

// replace writes a file beside the old one and renames it over that, so that
// nobody sees half of it.
func (l *Library) replace(name string, data []byte) error {
	file, err := os.CreateTemp(l.Dir, ".new-*")
	if err != nil {
		return fmt.Errorf("dcaptest: %w", err)
	}
	defer os.Remove(file.Name()) // there only if something went wrong
	_, err = file.Write(data)
	if err == nil {
		err = file.Chmod(0o755)
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(file.Name(), l.Path(name))
	}
	if err != nil {
		return fmt.Errorf("dcaptest: %s: %w", name, err)
	}
	return nil
}
