package peer

import (
	"os"
	"strings"
	"sync"
)

// podNames knows the namespaces and names of this node's pods by their UIDs, from the names
// of the directories that the kubelet makes for their logs, NAMESPACE_NAME_UID. It reads no
// log. A nil *podNames knows none.
type podNames struct {
	dir string

	mu    sync.Mutex
	known map[string]podName
}

type podName struct{ namespace, name string }

func newPodNames(dir string) *podNames {
	if dir == "" {
		return nil
	}
	return &podNames{dir: dir}
}

// of returns the name of the pod with a UID, or the zero podName if it is unknown. For a UID
// that it does not know it reads the directory again: the kubelet makes that of a pod before
// it starts a container.
func (n *podNames) of(uid string) podName {
	if n == nil || uid == "" {
		return podName{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	found, ok := n.known[uid]
	if !ok {
		n.known = readPodNames(n.dir)
		found = n.known[uid]
	}
	return found
}

// readPodNames returns the names of the pods that have a directory. Without it, none is
// known.
func readPodNames(dir string) map[string]podName {
	entries, _ := os.ReadDir(dir)
	names := make(map[string]podName, len(entries))
	for _, entry := range entries {
		// Neither namespaces nor names of pods have an underscore.
		if parts := strings.Split(entry.Name(), "_"); len(parts) == 3 && isUID(parts[2]) {
			names[parts[2]] = podName{parts[0], parts[1]}
		}
	}
	return names
}
