package peer

import "strings"

// parseCgroup finds the pod and the container in the text of /proc/PID/cgroup,
// which has lines of the form "hierarchy-ID:controllers:path": one with cgroup
// v2, a dozen with v1. The first line with a pod counts, or else the first one
// with a container. No name of a cgroup has a newline; Linux sees to that.
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

// parsePath finds the pod and the container in the path of a cgroup. The kubelet
// and the runtimes make such paths:
//
//	/kubepods/burstable/pod<uid>/<id>                              driver cgroupfs
//	/kubepods.slice/…/kubepods-burstable-pod<uid>.slice/crio-<id>.scope    systemd
//	/system.slice/containerd.service/kubepods-pod<uid>.slice:cri-containerd:<id>
//
// The last is of a containerd that was not told that the kubelet uses systemd.
// The path may begin with cgroups in which the whole node is, as with kind. To a
// process in a cgroup namespace of its own, it begins at that process's container
// instead, and so with "/..". A container of its own pod is then "/../<id>".
//
// The outermost pod counts, and the container right below it. Whatever is
// further down was made within the container and may have any name, also that of
// another pod. For the same reason nothing below user.slice counts: it is where
// systemd lets users of the node name their own cgroups.
func parsePath(path string) (pod, container string) {
	// Linux marks the path of a process that has outlived its cgroup.
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

// podUID is the UID of the pod that a cgroup is for, or "". The cgroup is called
// pod<uid>, or as a slice of systemd, whose name repeats those of its parents,
// kubepods-pod<uid>.slice with the class of service in between. There each dash
// of the UID is an underscore.
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
	return strings.Clone(uid) // not the whole text with it
}

// isUID tells whether s is the UID of a pod: a UUID with dashes, or for static
// pods, which have the hash of their file for a UID, 32 hex digits.
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

// containerID is the ID of the container that a cgroup is for, or "". The cgroup
// is called by the ID alone, or with the name of the runtime before it, and of
// systemd's kind of unit behind: cri-containerd-<id>.scope, crio-<id>,
// crio-conmon-<id>.scope, docker-<id>.scope.
func containerID(name string) string {
	id := strings.TrimSuffix(name, ".scope")
	id = id[strings.LastIndexByte(id, '-')+1:]
	if len(id) != 64 || !isHex(id) {
		return ""
	}
	return strings.Clone(id)
}

// isHex tells whether all of s are hex digits as Kubernetes writes them.
func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
