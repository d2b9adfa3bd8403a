package peer

import (
	"slices"
	"strings"
)

// layout is how the paths of cgroups lead to pods, as this process sees them.
type layout struct {
	// roots are the cgroups below which the kubelet creates those of pods. There are
	// several with cgroup v1, whose hierarchies may differ.
	roots []string
}

// conventional are the roots of a kubelet without --cgroup-root, with the driver
// cgroupfs and with systemd. Only root can create a cgroup there.
var conventional = []string{"/kubepods", "/kubepods.slice"}

// layoutOf returns the layout that the cgroup of this process shows, given the text of
// /proc/self/cgroup. A process that is in no pod, or in a cgroup namespace, which hides
// the names above it, gets the conventional one.
func layoutOf(text string) layout {
	var l layout
	for _, path := range paths(text) {
		if root, ok := rootOf(path); ok && !slices.Contains(l.roots, root) {
			l.roots = append(l.roots, root)
		}
	}
	if len(l.roots) == 0 {
		l.roots = conventional
	}
	return l
}

// rootOf returns the cgroup below which the kubelet created the pod of a path.
func rootOf(path string) (string, bool) {
	names := strings.Split(path, "/")
	for i, name := range names {
		slice, _, _ := strings.Cut(name, ":")
		if podUID(slice) != "" {
			if isClass(names[i-1]) {
				i--
			}
			return strings.Join(names[:i], "/"), true
		}
	}
	return "", false
}

// paths returns the paths in the text of /proc/PID/cgroup, which has lines of the form
// "hierarchy-ID:controllers:path": one with cgroup v2, a dozen with v1. Linux does not
// allow a newline in the name of a cgroup.
func paths(text string) (all []string) {
	for line := range strings.Lines(text) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if _, path, _ := strings.Cut(rest, ":"); strings.HasPrefix(path, "/") {
			all = append(all, path)
		}
	}
	return all
}

// upperLevels returns the upper two levels of the cgroup of a process that is in no pod, in
// the hierarchy that systemd manages, such as /user.slice/user-1000.slice. Users name only
// what is below: systemd may have delegated it to them.
func upperLevels(text string) string {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "0::") && !strings.Contains(line, ":name=systemd:") {
			continue
		}
		for _, path := range paths(line) {
			_, names, _ := upwards(strings.TrimSuffix(path, " (deleted)"))
			if len(names) > 0 && names[0] != "" {
				return "/" + strings.Join(names[:min(len(names), 2)], "/")
			}
		}
	}
	return "/"
}

// seesNode reports whether a process sees the processes of the node and not only those of
// its own pod, given the texts of its /proc/self/cgroup and /proc/1/cgroup: whether the
// first process that it sees is in another pod, or in none.
func (l layout) seesNode(own, first string) bool {
	if first == "" || first == own {
		return false
	}
	if pod, _ := l.parse(own); pod != "" {
		other, _ := l.parse(first)
		return other != pod
	}
	for _, path := range paths(first) {
		if above, _, _ := upwards(path); above == 1 {
			return false // another container of the same pod
		}
	}
	return true
}

// unified returns the part of the text of /proc/PID/cgroup that is about cgroup v2.
func unified(text string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "0::") {
			return line
		}
	}
	return ""
}

// parse returns the pod and the container in the text of /proc/PID/cgroup. The first
// line with a pod counts, or else the first one with a container.
func (l layout) parse(text string) (pod, container string) {
	for _, path := range paths(text) {
		p, c := l.parsePath(path)
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
// the container runtimes use these forms, below a root:
//
//	/kubepods/burstable/pod<uid>/<id>                              driver cgroupfs
//	/kubepods.slice/…/kubepods-burstable-pod<uid>.slice/crio-<id>.scope    systemd
//	/system.slice/containerd.service/kubepods-pod<uid>.slice:cri-containerd:<id>
//
// The last form comes from a containerd that is not configured for the kubelet's
// systemd driver. The root may be in cgroups that contain the whole node, as with kind.
// A process in its own cgroup namespace sees paths relative to its container, which
// begin with "/..": a container of the same pod is "/../<id>".
//
// A name counts only where the kubelet puts it: a pod directly below the root or below a
// class of it, and the container directly below the pod. Anywhere else, users of the
// node or of a container can name their own cgroups.
func (l layout) parsePath(path string) (pod, container string) {
	// Linux appends this to the path of a cgroup that was removed.
	path = strings.TrimSuffix(path, " (deleted)")
	if above, below, ok := upwards(path); ok {
		return relative(above, below)
	}
	for _, root := range l.roots {
		if below, ok := strings.CutPrefix(path, root+"/"); ok {
			if pod, container := podAtTop(strings.Split(below, "/")); pod != "" {
				return pod, container
			}
		}
	}
	return "", containerAtTop(path)
}

// upwards splits the path of a cgroup outside the cgroup namespace of this process: how
// many levels it leads up, and the names from there.
func upwards(path string) (above int, below []string, ok bool) {
	names := strings.Split(path, "/")[1:]
	for above < len(names) && names[above] == ".." {
		above++
	}
	return above, names[above:], above > 0
}

// relative is parsePath for a path that leads up from the container of this process. Its
// pod is one level up, or this is the level of the last form above; the root is two or
// three levels up, as there may be a class.
func relative(above int, below []string) (pod, container string) {
	switch {
	case above == 1 && len(below) > 0 && strings.Contains(below[0], ":"):
		return podAtTop(below[:1])
	case above == 1 && len(below) > 0:
		return "", containerID(below[0])
	case above == 2 || above == 3:
		if pod, container := podAtTop(below); pod != "" {
			return pod, container
		}
	}
	return "", containerAtTop("/" + strings.Join(below, "/"))
}

// podAtTop returns the pod and the container at the beginning of the names below the
// root.
func podAtTop(names []string) (pod, container string) {
	if len(names) > 1 && isClass(names[0]) {
		names = names[1:]
	}
	if len(names) == 0 {
		return "", ""
	}
	slice, below, joined := strings.Cut(names[0], ":")
	if pod = podUID(slice); pod == "" {
		return "", ""
	}
	switch {
	case joined:
		_, below, _ = strings.Cut(below, ":")
	case len(names) > 1:
		below = names[1]
	}
	return pod, containerID(below)
}

// isClass reports whether a cgroup is that of a quality-of-service class.
func isClass(name string) bool {
	switch name {
	case "burstable", "besteffort":
		return true
	}
	slice, ok := strings.CutSuffix(name, ".slice")
	return ok && (strings.HasSuffix(slice, "kubepods-burstable") || strings.HasSuffix(slice, "kubepods-besteffort"))
}

// containerAtTop returns the container of a path that Docker or Podman created outside
// any pod.
func containerAtTop(path string) string {
	names := strings.SplitN(path, "/", 4)
	if len(names) < 3 {
		return ""
	}
	switch names[1] {
	case "docker", "system.slice", "machine.slice":
		return containerID(names[2])
	}
	return ""
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
