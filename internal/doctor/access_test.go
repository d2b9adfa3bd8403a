package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/confcom/confcom/internal/node/nodetest"
)

// anotherUserEnv makes this test binary print what the check devices reports of a tree, in
// the place that is the variable anotherPlaceEnv.
const (
	anotherUserEnv  = "DOCTOR_TEST_ROOT"
	anotherPlaceEnv = "DOCTOR_TEST_PLACE"
)

func examineDevices(root string) int {
	d := Doctor{Place: Place(os.Getenv(anotherPlaceEnv)), Library: "libsgx_dcap_ql.so.1", Timeout: time.Second}
	d.Machine.Sysroot = root
	if err := json.NewEncoder(os.Stdout).Encode(d.devices(context.Background())); err != nil {
		return 1
	}
	return 0
}

// What a user may not open is reported as that, with what helps in each place. Only another
// user than root sees it.
func TestDevicesOfAnotherUser(t *testing.T) {
	const (
		uid = 65534
		gid = 107 // of the devices
		own = "device_ownership_from_security_context"
	)
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: needs root, to create devices of other users")
	}
	program := readable(t)
	type modes struct{ enclave, provision os.FileMode }
	for _, c := range []struct {
		name    string
		modes   modes
		group   int // that owns the devices
		place   Place
		verdict Verdict
		seen    string
		remedy  string
	}{
		{"open to all", modes{0o666, 0o666}, gid, Helper, OK, "", ""},
		{"root's", modes{0o600, 0o600}, 0, Node, Problem, "open /dev/sgx_enclave (mode 0600, owner 0, group 0) as user 65534", own},
		{"root's", modes{0o600, 0o600}, 0, Helper, Problem, "permission denied", own},
		{"root's", modes{0o600, 0o600}, 0, Application, Problem, "permission denied", "on the node: set " + own},
		{"the group of root's", modes{0o660, 0o660}, 0, Helper, Problem, "permission denied", "run the helper as root"},
		{"a group's", modes{0o660, 0o660}, gid, Node, Problem, "permission denied", "add 107 to supplementalGroups"},
		{"a group's", modes{0o660, 0o660}, gid, Helper, Problem, "permission denied", "dcap.groups={107}"},
		{"a group's", modes{0o660, 0o660}, gid, Application, Problem, "permission denied", "add 107 to supplementalGroups in this pod"},
		{"a provision device of a group", modes{0o666, 0o660}, gid, Helper, Problem, "/dev/sgx_provision (mode 0660", "dcap.groups={107}"},
		{"a provision device of a group", modes{0o666, 0o660}, gid, Application, Warning, "/dev/sgx_provision (mode 0660", "use the node's quote helper instead"},
		{"a provision device of root", modes{0o666, 0o600}, 0, Application, Warning, "/dev/sgx_provision (mode 0600", "use the node's quote helper instead"},
		{"one of an application with the library", modes{0o666, 0o660}, gid, Application, Warning, "/dev/sgx_provision (mode 0660", "if this one does, add 107 to supplementalGroups"},
		{"a directory that is closed", modes{0, 0}, 0, Node, Problem, "permission denied, as user 65534", "run this as root"},
	} {
		t.Run(c.name+"/"+string(c.place), func(t *testing.T) {
			tree := nodetest.Tree{"dev/x": ""}
			if strings.HasSuffix(c.name, "with the library") {
				tree["usr/lib/libsgx_dcap_ql.so.1"] = ""
			}
			root := tree.Make(t)
			letIn(t, root)
			for name, mode := range map[string]os.FileMode{"sgx_enclave": c.modes.enclave, "sgx_provision": c.modes.provision} {
				path := filepath.Join(root, "dev", name)
				const null = 1<<8 | 3
				if err := syscall.Mknod(path, syscall.S_IFCHR|0o600, null); errors.Is(err, os.ErrPermission) {
					t.Skip("NOT RUN: this root may not create a device: ", err)
				} else if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(os.Chown(path, 0, c.group), os.Chmod(path, mode)); err != nil {
					t.Fatal(err)
				}
			}
			if c.modes.enclave == 0 {
				if err := os.Chmod(filepath.Join(root, "dev"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			command := exec.Command(program)
			command.Env = append(os.Environ(), anotherUserEnv+"="+root, anotherPlaceEnv+"="+string(c.place))
			command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
			command.Dir = "/"
			output, err := command.Output()
			var got Check
			if err == nil {
				err = json.Unmarshal(output, &got)
			}
			if err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			if got.Verdict != c.verdict || !strings.Contains(got.Seen, c.seen) || !strings.Contains(got.Remedy, c.remedy) {
				t.Errorf("%+v, want %s, %q and %q", got, c.verdict, c.seen, c.remedy)
			}
			if strings.Contains(got.Remedy, "add 0 ") {
				t.Errorf("%+v sends pods into the group of root", got)
			}
		})
	}
}

// readable returns a copy of this program that every user may run.
func readable(t *testing.T) string {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "doctor.test")
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	letIn(t, filepath.Dir(path))
	return path
}

// letIn lets every user into a temporary directory of the test, which is in one of its own.
func letIn(t *testing.T, dir string) {
	t.Helper()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
}
