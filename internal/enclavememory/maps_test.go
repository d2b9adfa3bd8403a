package enclavememory

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/node"
)

const (
	// An enclave of Enarx under the in-kernel driver: ranges with different access, with gaps
	// that are mapped to nothing, and a range that is not filled yet.
	enarx = `7f6e00000000-7f6e0000d000 r--s 00000000 00:05 84                         /dev/sgx_enclave
7f6e0000d000-7f6e0003b000 rw-s 00000000 00:05 84                         /dev/sgx_enclave
7f6e0003b000-7f6e00117000 r-xs 00000000 00:05 84                         /dev/sgx_enclave
7f6e00117000-7f6e00201000 ---p 00000000 00:00 0 
7f6e00201000-7f6e003fc000 rw-s 00000000 00:05 84                         /dev/sgx_enclave
7f6e003fc000-7f6e003fd000 rw-s 00000000 00:05 84                         /dev/sgx_enclave
7f6e003fd000-7f6e00400000 rw-s 00000000 00:05 84                         /dev/sgx_enclave
7f6e00400000-7f6e0065c000 r--s 00000000 00:05 84                         /dev/sgx_enclave
7f6e0065c000-7f6e01c42000 r-xs 00000000 00:05 84                         /dev/sgx_enclave
7f6e01c42000-7f6e01eae000 r--s 00000000 00:05 84                         /dev/sgx_enclave
7f6e01eae000-7f6e0231c000 rw-s 00000000 00:05 84                         /dev/sgx_enclave
7f6e0231c000-7f6e80000000 ---p 00000000 00:00 0 
7f6e80000000-7f6f00000000 rwxs 00000000 00:05 84                         /dev/sgx_enclave
7f6fa3aa6000-7f6fa3aa9000 rw-p 00000000 00:00 0 
`
	// An enclave of Intel's SDK under the in-kernel driver; the beginning.
	sdk = `555555560000-555555561000 rw-p 0000b000 103:0b 1446897                   /opt/app/redirect
555555561000-555555582000 rw-p 00000000 00:00 0                          [heap]
7ffff7600000-7ffff7601000 r--s 00000000 00:05 85                         /dev/sgx_enclave
7ffff7601000-7ffff760d000 r-xs 00000000 00:05 85                         /dev/sgx_enclave
7ffff760d000-7ffff7610000 r--s 00000000 00:05 85                         /dev/sgx_enclave
`
	// An enclave under Intel's driver isgx, which maps all of the address range.
	isgx = "7f52e0254000-7f52f0254000 rw-s 20254000 00:06 483                        /dev/isgx\n"
)

func TestMapped(t *testing.T) {
	line := func(access, path string) string {
		return "7f0000000000-7f0000200000 " + access + " 00000000 00:05 84                         " + path + "\n"
	}
	for _, tt := range []struct {
		name, maps string
		want       node.Size // in KiB
	}{
		{"Enarx", enarx, (0x117000+0x231c000-0x201000)>>10 + 2<<20},
		{"Intel's SDK", sdk, 64},
		{"isgx", isgx, 256 << 10},
		{"several enclaves", enarx + isgx, (0x117000+0x231c000-0x201000)>>10 + 2<<20 + 256<<10},
		{"DCAP driver", line("rw-s", "/dev/sgx/enclave"), 2 << 10},
		{"virtual machine", line("rw-s", "/dev/sgx_vepc"), 2 << 10},
		{"device removed", line("rw-s", "/dev/sgx_enclave (deleted)"), 2 << 10},
		{"in a chroot", line("rw-s", "/srv/rootfs/dev/sgx_enclave"), 2 << 10},
		{"write only", line("-w-s", "/dev/sgx_enclave"), 2 << 10},
		{"no newline at the end", strings.TrimSuffix(line("r--s", "/dev/sgx_enclave"), "\n"), 2 << 10},
		{"the address range, reserved", line("---s", "/dev/sgx_enclave"), 0},
		{"the provision device", line("rw-s", "/dev/sgx_provision"), 0},
		{"a simulated device, shared", line("rw-s", "/dev/zero (deleted)"), 0},
		{"a simulated device, private", line("rw-p", "/dev/sgx_enclave"), 0},
		{"a program with such a name", line("r-xp", "/srv/dev/isgx"), 0},
		{"a library with such a name", line("r-xp", "/usr/lib/dev/sgx_enclave.so"), 0},
		{"another directory", line("r-xp", "/home/mydev/isgx"), 0},
		{"other mappings", "7ffc1f9d5000-7ffc1f9f6000 rw-p 00000000 00:00 0                          [stack]\nffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n", 0},
		{"a process of the kernel", "", 0},
	} {
		got, err := mapped(strings.NewReader(tt.maps))
		if err != nil || got != tt.want<<10 {
			t.Errorf("%s: %d KiB, %v, want %d KiB", tt.name, got>>10, err, tt.want)
		}
	}
}

func TestNotMapping(t *testing.T) {
	for _, line := range []string{
		"/dev/sgx_enclave",
		"7f0000000000 rw-s 00000000 00:05 84 /dev/sgx_enclave",
		"7f0000000000-7f rw-s 00000000 00:05 84 /dev/sgx_enclave",
		"-7f0000000000 rw-s 00000000 00:05 84 /dev/sgx_enclave",
		"7f0000000000-7g0000000000 rw-s 00000000 00:05 84 /dev/sgx_enclave",
		"7f0000000000-1ffffffffffffffff rw-s 00000000 00:05 84 /dev/sgx_enclave",
		"7f0000000000-7f0000001000 rw 00000000 00:05 84 /dev/sgx_enclave",
	} {
		if got, err := mapped(strings.NewReader(line)); !errors.Is(err, errNotMapping) || !strings.Contains(err.Error(), line) {
			t.Errorf("%q: %d, %v", line, got, err)
		}
	}
}

// endless is the text of a process with any number of mappings.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	const line = "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"
	n := 0
	for len(p)-n >= len(line) {
		n += copy(p[n:], line)
	}
	if n == 0 {
		n = copy(p, line[len(line)-1:]) // an empty line
	}
	return n, nil
}

func TestTooLong(t *testing.T) {
	if _, err := mapped(endless{}); !errors.Is(err, errTooLong) {
		t.Error(err)
	}
	long := strings.NewReader(strings.Repeat("x", 65<<10))
	if _, err := mapped(io.MultiReader(long, endless{})); !errors.Is(err, errTooLong) {
		t.Errorf("a line of 65 KiB: %v", err)
	}
}

func FuzzMapped(f *testing.F) {
	for _, text := range []string{enarx, sdk, isgx, "", "/dev/isgx"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := mapped(strings.NewReader(text))
		twice, errTwice := mapped(strings.NewReader(text + "\n" + text))
		if (err == nil) != (errTwice == nil) || err == nil && twice != 2*got {
			t.Errorf("%d, %v; twice %d, %v", got, err, twice, errTwice)
		}
	})
}
