package peer

import (
	"os"
	"strings"
	"sync"
	"time"
)

// podNames knows the namespaces and names of this node's pods by their UIDs, from the names
// of the directories that the kubelet makes for their logs, NAMESPACE_NAME_UID. It reads no
// log. A nil *podNames knows none.
type podNames struct {
	dir string

	mu    sync.Mutex
	known map[string]podName
	read  time.Time
}

type podName struct{ namespace, name string }

// rereadInterval is how long an unknown UID does not cause the directory to be read again:
// it may have no directory at all.
const rereadInterval = time.Second

func newPodNames(dir string) *podNames {
	if dir == "" {
		return nil
	}
	return &podNames{dir: dir}
}

// of returns the name of the pod with a UID, or the zero podName if it is unknown.
func (n *podNames) of(uid string) podName {
	if n == nil || uid == "" {
		return podName{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	found, ok := n.known[uid]
	if now := time.Now(); !ok && now.Sub(n.read) >= rereadInterval {
		n.read = now
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
