package peer

import "strings"

// parseCgroup returns the pod and the container in the text of /proc/PID/cgroup,
// which has lines of the form "hierarchy-ID:controllers:path": one with cgroup v2, a
// dozen with v1. The first line with a pod counts, or else the first one with a
// container. Linux does not allow a newline in the name of a cgroup.
func parseCgroup(text string) (pod, container string) {
	for line := range strings.Lines(text) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		_, path, _ := strings.Cut(rest, ":")
		p, c := parsePath(path)
		if p != "" {
			return p, c
		}
		if container == "" {
			container = c
		}
	}
	return "", container
}

// parsePath returns the pod and the container in the path of a cgroup. The kubelet and
// the container runtimes use these forms:
//
//	/kubepods/burstable/pod<uid>/<id>                              driver cgroupfs
//	/kubepods.slice/…/kubepods-burstable-pod<uid>.slice/crio-<id>.scope    systemd
//	/system.slice/containerd.service/kubepods-pod<uid>.slice:cri-containerd:<id>
//
// The last form comes from a containerd that is not configured for the kubelet's
// systemd driver. The path may begin with cgroups that contain the whole node, as with
// kind. A process in its own cgroup namespace sees paths relative to its container,
// which begin with "/..": a container of the same pod is "/../<id>".
//
// The outermost pod counts, and the container directly below it. Cgroups further down
// were created inside the container and can have any name, even that of another pod.
// For the same reason nothing below user.slice counts: there, systemd lets users of the
// node name their own cgroups.
func parsePath(path string) (pod, container string) {
	// Linux appends this to the path of a cgroup that was removed.
	path = strings.TrimSuffix(path, " (deleted)")
	names := strings.Split(path, "/")
	for i, name := range names {
		if name == "user.slice" {
			break
		}
		slice, below, joined := strings.Cut(name, ":")
		if pod := podUID(slice); pod != "" {
			switch {
			case joined:
				_, below, _ = strings.Cut(below, ":")
			case i+1 < len(names):
				below = names[i+1]
			}
			return pod, containerID(below)
		}
		if container == "" {
			container = containerID(name)
		}
	}
	return "", container
}

// podUID returns the UID of the pod that a cgroup belongs to, or "". The cgroup is
// named pod<uid> or, as a systemd slice, kubepods-pod<uid>.slice: the name of a slice
// includes those of its parents, here with the quality-of-service class before "pod",
// and each dash of the UID is an underscore.
func podUID(name string) string {
	if slice, ok := strings.CutSuffix(name, ".slice"); ok {
		const root = "kubepods-"
		at := strings.LastIndex(slice, root)
		if at < 0 {
			return ""
		}
		name = strings.ReplaceAll(slice[at+len(root):], "_", "-")
		name = strings.TrimPrefix(name, "burstable-")
		name = strings.TrimPrefix(name, "besteffort-")
	}
	uid, ok := strings.CutPrefix(name, "pod")
	if !ok || !isUID(uid) {
		return ""
	}
	return strings.Clone(uid) // keep only these bytes alive, not the whole text
}

// isUID reports whether s is the UID of a pod: a UUID with dashes or, for a static pod,
// the 32 hex digits of the hash of its file.
func isUID(s string) bool {
	switch len(s) {
	case 32:
		return isHex(s)
	case 36:
		return s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
			isHex(s[:8]) && isHex(s[9:13]) && isHex(s[14:18]) && isHex(s[19:23]) && isHex(s[24:])
	}
	return false
}

// containerID returns the ID of the container that a cgroup belongs to, or "". The
// name of the cgroup is the ID, possibly after the name of the runtime and before
// systemd's suffix: cri-containerd-<id>.scope, crio-<id>, crio-conmon-<id>.scope,
// docker-<id>.scope.
func containerID(name string) string {
	id := strings.TrimSuffix(name, ".scope")
	id = id[strings.LastIndexByte(id, '-')+1:]
	if len(id) != 64 || !isHex(id) {
		return ""
	}
	return strings.Clone(id)
}

// isHex reports whether s consists of hex digits as Kubernetes writes them.
func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
