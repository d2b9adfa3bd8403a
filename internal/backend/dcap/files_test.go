package dcap

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file that is replaced, written to, removed or created has another version.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lib.so")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "one")
	link := filepath.Join(dir, "link.so")
	if err := os.Symlink("lib.so", link); err != nil {
		t.Fatal(err)
	}
	last := files{path: {}, link: {}, filepath.Join(dir, "none"): {}}.poll()
	if now := last.poll(); !now.equal(last) {
		t.Error("a change is seen where there is none")
	}
	for _, c := range []struct {
		name   string
		change func() error
	}{
		{"replaced by the same content", func() error { write(path+"~", "one"); return os.Rename(path+"~", path) }},
		{"written to", func() error { write(path, "two"); return os.Chtimes(path, time.Time{}, time.Now().Add(time.Second)) }},
		{"removed", func() error { return os.Remove(path) }},
		{"created again", func() error { write(path, "two"); return nil }},
		{"created", func() error { write(filepath.Join(dir, "none"), ""); return nil }},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		now := last.poll()
		if now.equal(last) {
			t.Errorf("%s: no change is seen", c.name)
		}
		last = now
	}
}

// A process is loaded from its program, its libraries, the enclaves beside them and
// its configuration. The versions from before its start count.
func TestFilesOf(t *testing.T) {
	configuration := filepath.Join(t.TempDir(), "conf")
	f := filesOf(os.Getpid(), configuration)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := f[program]; !ok || v == (version{}) {
		t.Errorf("the program is not among %v", f)
	}
	if v, ok := f[configuration]; !ok || v != (version{}) {
		t.Errorf("the configuration, which does not exist yet, is not among %v", f)
	}
	earlier := version{inode: 1}
	if got := f.startingFrom(files{program: earlier, "/another": earlier}); got[program] != earlier || len(got) != len(f) {
		t.Errorf("%v", got)
	}
}
