package peer

import (
	"strings"
	"testing"
)

const (
	uid        = "2c48913c-b29f-11e7-9350-020968147796"
	escapedUID = "2c48913c_b29f_11e7_9350_020968147796"
	staticUID  = "7d9ad5e0a3f3f5a4ad6b3a2c6ad1b38e"
	otherUID   = "5ecc73f0-4ae9-4bdb-a7d5-214f3ba84b69"
	id         = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961"
	otherID    = "d4e8e05a546c86b6443f101966c618e47753ed01fa9929cae00d3b692f7a9f80"

	burstable  = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escapedUID + ".slice"
	inKind     = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + escapedUID + ".slice"
	userOfNode = "/user.slice/user-1000.slice/user@1000.service/app.slice"
)

// cgroups are the paths of cgroups that kubelets and container runtimes create, and
// some that look similar.
var cgroups = []struct {
	name, path     string
	pod, container string
}{
	// The kubelet's driver cgroupfs.
	{"cgroupfs, guaranteed", "/kubepods/pod" + uid + "/" + id, uid, id},
	{"cgroupfs, burstable", "/kubepods/burstable/pod" + uid + "/" + id, uid, id},
	{"cgroupfs, best effort", "/kubepods/besteffort/pod" + uid + "/" + id, uid, id},
	{"cgroupfs, static pod", "/kubepods/burstable/pod" + staticUID + "/" + id, staticUID, id},
	{"cgroupfs, CRI-O", "/kubepods/burstable/pod" + uid + "/crio-" + id, uid, id},
	{"cgroupfs, conmon", "/kubepods/burstable/pod" + uid + "/crio-conmon-" + id, uid, id},

	// The kubelet's driver systemd.
	{"systemd, guaranteed", "/kubepods.slice/kubepods-pod" + escapedUID + ".slice/cri-containerd-" + id + ".scope", uid, id},
	{"systemd, burstable", burstable + "/cri-containerd-" + id + ".scope", uid, id},
	{"systemd, best effort", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + escapedUID + ".slice/cri-containerd-" + id + ".scope", uid, id},
	{"systemd, static pod", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + staticUID + ".slice/cri-containerd-" + id + ".scope", staticUID, id},
	{"systemd, CRI-O", burstable + "/crio-" + id + ".scope", uid, id},
	{"systemd, CRI-O with crun", burstable + "/crio-" + id + ".scope/container", uid, id},
	{"systemd, conmon", burstable + "/crio-conmon-" + id + ".scope", uid, id},
	{"systemd, Docker", burstable + "/docker-" + id + ".scope", uid, id},

	// From within a cgroup namespace.
	{"namespace, same class", "/../../kubepods-burstable-pod" + escapedUID + ".slice/cri-containerd-" + id + ".scope", uid, id},
	{"namespace, other class", "/../../../kubepods-besteffort.slice/kubepods-besteffort-pod" + escapedUID + ".slice/crio-" + id + ".scope", uid, id},
	{"namespace, guaranteed", "/../../../kubepods-pod" + escapedUID + ".slice/cri-containerd-" + id + ".scope", uid, id},
	{"namespace, cgroupfs", "/../../pod" + uid + "/" + id, uid, id},
	{"namespace, own pod", "/../cri-containerd-" + id + ".scope", "", id},
	{"namespace, own pod, cgroupfs", "/../" + id, "", id},
	{"namespace, own container", "/", "", ""},
	{"namespace, the node", "/../../../../system.slice/sshd.service", "", ""},

	// Cgroups below the container's.
	{"systemd in the container", burstable + "/cri-containerd-" + id + ".scope/system.slice/nginx.service", uid, id},
	{"another container in the container", burstable + "/cri-containerd-" + id + ".scope/docker/" + otherID, uid, id},
	{"another pod in the container", burstable + "/cri-containerd-" + id + ".scope/kubepods/pod" + otherUID + "/" + otherID, uid, id},
	{"another pod in the pod", "/kubepods/pod" + uid + "/pod" + otherUID + "/" + otherID, uid, ""},
	{"no container right below the pod", "/kubepods/pod" + uid + "/init/" + id, uid, ""},
	{"the pod's own", "/kubepods/burstable/pod" + uid, uid, ""},
	{"the pod's own, systemd", burstable, uid, ""},
	{"removed", "/kubepods/pod" + uid + "/" + id + " (deleted)", uid, id},
	{"removed pod", burstable + " (deleted)", uid, ""},

	// Containers of no pod.
	{"Docker, cgroupfs", "/docker/" + id, "", id},
	{"Docker, systemd", "/system.slice/docker-" + id + ".scope", "", id},
	{"Podman of root", "/machine.slice/libpod-" + id + ".scope/container", "", id},
	{"Docker in Docker", "/docker/" + id + "/docker/" + otherID, "", id},
	{"namespace, Docker", "/../../../../system.slice/docker-" + id + ".scope", "", id},
	{"users of a container", "/docker/" + id + userOfNode + "/kubepods/pod" + uid, "", id},

	// No pod.
	{"nothing", "", "", ""},
	{"the root", "/", "", ""},
	{"a service", "/system.slice/sshd.service", "", ""},
	{"a session of a user", "/user.slice/user-1000.slice/session-2.scope", "", ""},
	{"a user posing as a pod", userOfNode + "/kubepods/burstable/pod" + uid + "/" + id, "", ""},
	{"a user posing as a container", userOfNode + "/docker-" + id + ".scope", "", ""},
	{"a service posing as a pod", "/system.slice/delegated.service/kubepods/burstable/pod" + uid + "/" + id, "", ""},
	{"a service posing as a kubelet", "/system.slice/delegated.service/kubepods.slice/kubepods-pod" + escapedUID + ".slice/cri-containerd-" + id + ".scope", "", ""},
	{"a service posing as a containerd", "/system.slice/delegated.service/kubepods-pod" + escapedUID + ".slice:cri-containerd:" + id, "", ""},
	{"a service posing as a container", "/system.slice/delegated.service/docker-" + id + ".scope", "", ""},
	{"a service posing as a pod, from a namespace", "/../../../../system.slice/delegated.service/kubepods/pod" + uid + "/" + id, "", ""},
	{"a service posing as a pod, from a shallow namespace", "/../../../system.slice/delegated.service/pod" + uid + "/" + id, "", ""},
	{"far below the root", "/kubepods/other/pod" + uid + "/" + id, "", ""},
	{"two classes", "/kubepods/burstable/besteffort/pod" + uid + "/" + id, "", ""},
	{"a user posing as a pod, from a namespace", "/../../.." + userOfNode + "/pod" + uid + "/" + id, "", ""},
	{"quality-of-service classes", "/kubepods.slice/kubepods-burstable.slice", "", ""},
	{"the kubelet", "/kubelet.slice/kubelet.service", "", ""},
	{"a service whose name begins with pod", "/system.slice/podman.service", "", ""},
	{"a slice of something else", "/machine.slice/machine-pod" + escapedUID + ".slice", "", ""},
	{"an unknown class", "/kubepods.slice/kubepods-gold-pod" + escapedUID + ".slice", "", ""},
	{"UID too short", "/kubepods/pod" + uid[1:], "", ""},
	{"UID too long", "/kubepods/pod" + uid + "0", "", ""},
	{"UID in upper case", "/kubepods/pod" + strings.ToUpper(uid), "", ""},
	{"UID without dashes", "/kubepods/pod" + strings.Repeat("0", 36), "", ""},
	{"UID of other letters", "/kubepods/pod" + strings.Repeat("g", 32), "", ""},
	{"ID too long", "/kubepods/pod" + uid + "/" + id + "0", uid, ""},
	{"ID without a dash before it", "/kubepods/pod" + uid + "/crio" + id, uid, ""},
	{"a long path", strings.Repeat("/x", 1<<16), "", ""},
	{"a long name", "/kubepods/pod" + strings.Repeat("0", 1<<16), "", ""},
	{"colons", "/:::/:", "", ""},
}

func TestPath(t *testing.T) {
	for _, test := range cgroups {
		t.Run(test.name, func(t *testing.T) {
			if pod, container := layoutOf("").parsePath(test.path); pod != test.pod || container != test.container {
				t.Errorf("pod %q in container %q, want %q in %q", pod, container, test.pod, test.container)
			}
		})
	}
}

// What the cgroup of the quote helper itself shows: where the kubelet's root is.
func TestLayout(t *testing.T) {
	const kind = "/kubelet.slice/kubelet-kubepods.slice"
	containerd := func(uid string) string {
		return "/system.slice/containerd.service/kubepods-burstable-pod" + uid + ".slice:cri-containerd:" + id
	}
	tests := []struct {
		name, own, path string
		pod             string
	}{
		{"cgroupfs", "/kubepods/burstable/pod" + otherUID + "/" + otherID, "/kubepods/pod" + uid + "/" + id, uid},
		{"systemd", "/kubepods.slice/kubepods-pod" + otherUID + ".slice/cri-containerd-" + otherID + ".scope", burstable + "/cri-containerd-" + id + ".scope", uid},
		{"a root of its own", "/state/kubepods/burstable/pod" + otherUID + "/" + otherID, "/state/kubepods/besteffort/pod" + uid + "/" + id, uid},
		{"Docker Desktop", "/kubepods/kubepods/burstable/pod" + otherUID + "/" + otherID, "/kubepods/kubepods/besteffort/pod" + uid + "/" + id, uid},
		{"kind, systemd", kind + "/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + otherUID + ".slice/cri-containerd-" + otherID + ".scope", inKind + "/cri-containerd-" + id + ".scope", uid},
		{"kind, cgroupfs", "/docker/" + otherID + "/kubelet/kubepods/burstable/pod" + otherUID + "/" + id, "/docker/" + otherID + "/kubelet/kubepods/pod" + uid + "/" + id, uid},
		{"containerd not configured", containerd(otherUID), containerd(uid), uid},

		{"another kubelet", "/state/kubepods/burstable/pod" + otherUID + "/" + otherID, "/kubepods/besteffort/pod" + uid + "/" + id, ""},
		{"below a service", containerd(otherUID), "/system.slice/other.service/kubepods-pod" + escapedUID + ".slice:cri-containerd:" + id, ""},
		{"in no pod, another root", "/system.slice/sgx-quote-helper.service", "/state/kubepods/pod" + uid + "/" + id, ""},
		{"in no pod", "/system.slice/sgx-quote-helper.service", "/kubepods/pod" + uid + "/" + id, uid},
		{"in a namespace", "/", "/../../../kubepods-pod" + escapedUID + ".slice/cri-containerd-" + id + ".scope", uid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := layoutOf("1:name=systemd:/\n0::" + test.own + "\n")
			if pod, _ := l.parsePath(test.path); pod != test.pod {
				t.Errorf("pod %q, want %q, below %q", pod, test.pod, l.roots)
			}
		})
	}
}

func TestCgroup(t *testing.T) {
	const inPod, inContainer = "/kubepods/burstable/pod" + uid + "/" + id, "/docker/" + id
	tests := []struct {
		name, text     string
		pod, container string
	}{
		{"v2", "0::" + inPod + "\n", uid, id},
		{"v1", "12:cpu,cpuacct:" + inPod + "\n11:memory:" + inPod + "\n1:name=systemd:" + inPod + "\n", uid, id},
		{"v1, root first", "12:rdma:/\n11:memory:" + inPod + "\n0::/system.slice/containerd.service\n", uid, id},
		{"v1, two pods", "12:cpu:" + inPod + "\n11:memory:/kubepods/pod" + otherUID + "/" + otherID + "\n", uid, id},
		{"v1, a pod after a container", "12:cpu:/docker/" + otherID + "\n11:memory:" + inPod + "\n", uid, id},
		{"v1, two containers", "12:cpu:" + inContainer + "\n11:memory:/docker/" + otherID + "\n", "", id},
		{"no newline at the end", "0::" + inPod, uid, id},
		{"nothing", "", "", ""},
		{"empty lines", "\n\n\n", "", ""},
		{"no path", "0:\n", "", ""},
		{"no colons", inPod, "", ""},
		{"zeros", strings.Repeat("\x00", 4096), "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if pod, container := layoutOf("").parse(test.text); pod != test.pod || container != test.container {
				t.Errorf("pod %q in container %q, want %q in %q", pod, container, test.pod, test.container)
			}
		})
	}
}

// FuzzCgroup checks that, for any text, parse returns a well-formed UID and ID,
// and that parsePath finds them again in a normal path.
func FuzzCgroup(f *testing.F) {
	for _, test := range cgroups {
		if len(test.path) < 4096 { // longer ones only slow fuzzing down
			f.Add("0::" + test.path + "\n")
			f.Add("12:cpu,cpuacct:/\n1:name=systemd:" + test.path + "\n")
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		pod, container := layoutOf(text).parse(text)
		if pod != "" && !isUID(pod) {
			t.Errorf("pod %q", pod)
		}
		if container != "" && (len(container) != 64 || !isHex(container)) {
			t.Errorf("container %q", container)
		}
		if pod == "" {
			return
		}
		for _, path := range []string{
			"/kubepods/pod" + pod + "/" + container,
			"/kubepods.slice/kubepods-pod" + strings.ReplaceAll(pod, "-", "_") + ".slice/cri-containerd-" + container + ".scope",
		} {
			if again, in := layoutOf("").parsePath(path); again != pod || in != container {
				t.Errorf("%q in %q, but %q in %q the second time", pod, container, again, in)
			}
		}
	})
}

func TestUpperLevels(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"0::/user.slice/user-1000.slice/session-3.scope\n", "/user.slice/user-1000.slice"},
		{"0::/user.slice/user-1000.slice/user@1000.service/init.scope/pod" + uid + "\n", "/user.slice/user-1000.slice"},
		{"0::/system.slice/ssh.service\n", "/system.slice/ssh.service"},
		{"0::/system.slice/ssh.service (deleted)\n", "/system.slice/ssh.service"},
		{"0::/init.scope\n", "/init.scope"},
		{"0::/\n", "/"},
		{"", "/"},
		// As seen by a process in its own cgroup namespace.
		{"0::/../../../../user.slice/user-1000.slice/session-3.scope\n", "/user.slice/user-1000.slice"},
		{"0::/../../..\n", "/"},
		{"4:memory:/a/b\n1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n0::/\n", "/user.slice/user-1000.slice"},
		{"4:memory:/a/b\n", "/"},
	} {
		if got := upperLevels(tt.text); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestSeesNode(t *testing.T) {
	const (
		pod   = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod50a70000_0000_4000_8000_000000000001.slice/"
		other = "cri-containerd-0000000000000000000000000000000000000000000000000000000000000001.scope"
		own   = pod + "cri-containerd-" + id + ".scope"
	)
	for _, tt := range []struct {
		name, own, first string
		want             bool
	}{
		{"hostPID", own, "/init.scope", true},
		{"hostPID, own cgroup namespace", "/", "/../../../../init.scope", true},
		{"hostPID in kind", "/docker/a/kubelet" + own, "/docker/a/init.scope", true},
		{"own PID namespace", own, own, false},
		{"own PID and cgroup namespaces", "/", "/", false},
		{"PID namespace of the pod", own, pod + other, false},
		{"PID namespace of the pod, own cgroup namespace", "/", "/../" + other, false},
		{"service", "/system.slice/sgx-quote-helper.service", "/init.scope", true},
		{"unreadable", own, "", false},
	} {
		text := func(path string) string {
			if path == "" {
				return ""
			}
			return "0::" + path + "\n"
		}
		l := layoutOf(text(tt.own))
		if got := l.seesNode(text(tt.own), text(tt.first)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
