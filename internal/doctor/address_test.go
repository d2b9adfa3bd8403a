package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The daemon is the one of this container, or one on its network.
func TestAddress(t *testing.T) {
	type process struct{ net, mnt, cmdline string }
	helper := func(net, mnt, port string) process {
		return process{net, mnt, "/usr/local/bin/sgx-quote-helper --platform=dcap --http-address=:" + port}
	}
	own := process{"net:[1]", "mnt:[1]", "confcom doctor"}
	for _, c := range []struct {
		name      string
		processes []process
		want      string
	}{
		{"none", nil, defaultAddress},
		{"of this container", []process{helper("net:[1]", "mnt:[1]", "9100")}, "127.0.0.1:9100"},
		{"of this container, all processes of the node visible", []process{
			helper("net:[2]", "mnt:[2]", "8080"), helper("net:[1]", "mnt:[3]", "9101"),
			{"net:[1]", "mnt:[1]", "/sgx-device-plugin --http-address=:9100"},
		}, "127.0.0.1:9100"},
		{"on the network of the node", []process{
			{"net:[1]", "mnt:[2]", "/sgx-device-plugin --http-address=:9101"}, helper("net:[1]", "mnt:[3]", "9100"),
			{"net:[1]", "mnt:[4]", "/sgx-node-resource --http-address=:9102"},
		}, "127.0.0.1:9100"},
		{"in other pods", []process{helper("net:[2]", "mnt:[2]", "9100")}, defaultAddress},
		{"other programs", []process{{"net:[1]", "mnt:[1]", "prometheus --http-address=:9100"}}, defaultAddress},
		{"without HTTP", []process{{"net:[1]", "mnt:[1]", "sgx-quote-helper --http-address="}, {"net:[1]", "mnt:[1]", "sgx-quote-helper"}, {"net:[1]", "mnt:[1]", ""}}, defaultAddress},
		{"two arguments", []process{{"net:[1]", "mnt:[1]", "sgx-quote-helper --http-address 10.0.0.1:9100 --takeover"}}, "10.0.0.1:9100"},
		{"given twice", []process{{"net:[1]", "mnt:[1]", "sgx-quote-helper --http-address=:1 --http-address=[::]:9100"}}, "127.0.0.1:9100"},
		{"no value", []process{{"net:[1]", "mnt:[1]", "sgx-quote-helper --http-address"}}, defaultAddress},
		{"the verifier", []process{{"net:[1]", "mnt:[1]", "/confcom verifier serve --http-address=[::1]:9100"}}, "[::1]:9100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			procfs := t.TempDir()
			add := func(name string, p process) {
				dir := filepath.Join(procfs, name)
				if err := os.MkdirAll(filepath.Join(dir, "ns"), 0o700); err != nil {
					t.Fatal(err)
				}
				cmdline := strings.ReplaceAll(p.cmdline, " ", "\x00")
				if cmdline != "" {
					cmdline += "\x00"
				}
				for _, err := range []error{
					os.WriteFile(filepath.Join(dir, "cmdline"), []byte(cmdline), 0o600),
					os.Symlink(p.net, filepath.Join(dir, "ns/net")),
					os.Symlink(p.mnt, filepath.Join(dir, "ns/mnt")),
				} {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			add("self", own)
			add("7", own)
			for i, p := range c.processes {
				add(fmt.Sprint(100+i), p)
			}
			if got := Address(procfs); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// A process of another user is not asked, whatever its name is.
func TestAddressOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: needs root, to have files of another user")
	}
	procfs := t.TempDir()
	for _, name := range []string{"self", "100"} {
		dir := filepath.Join(procfs, name)
		for _, err := range []error{
			os.MkdirAll(filepath.Join(dir, "ns"), 0o700),
			os.WriteFile(filepath.Join(dir, "cmdline"), []byte(helperName+"\x00--http-address=:9100\x00"), 0o600),
			os.Symlink("net:[1]", filepath.Join(dir, "ns/net")),
			os.Symlink("mnt:[1]", filepath.Join(dir, "ns/mnt")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := Address(procfs); got != "127.0.0.1:9100" {
		t.Errorf("%s of a process of root", got)
	}
	if err := os.Chown(filepath.Join(procfs, "100"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if got := Address(procfs); got != defaultAddress {
		t.Errorf("%s of a process of another user", got)
	}
}

// What the kernel says of a process is understood.
func TestAddressOfProcess(t *testing.T) {
	command := exec.Command("sh", "-c", "read line", "--http-address=:9100")
	command.Args[0] = "/" + helperName
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	procfs := t.TempDir() // without the daemons that may run on this machine
	for _, name := range []string{"self", strconv.Itoa(command.Process.Pid)} {
		if err := os.Symlink(filepath.Join("/proc", name), filepath.Join(procfs, name)); err != nil {
			t.Error(err)
		}
	}
	if got := Address(procfs); got != "127.0.0.1:9100" {
		t.Errorf("%s, want the port of process %d", got, command.Process.Pid)
	}
	stdin.Close()
	_ = command.Wait() // read fails at the end of its input
	if got := Address(procfs); got != defaultAddress {
		t.Errorf("%s of a process that has ended", got)
	}
}
