package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/epc"
)

// Place is where the doctor runs, which decides what must be there.
type Place string

// The places.
const (
	Node        Place = "node"        // a machine
	Helper      Place = "helper"      // where the quote helper runs: its pod, or the machine itself
	OtherDaemon Place = "daemon"      // the pod of another daemon of confcom
	Application Place = "application" // a pod that gets its quotes from the quote helper
)

const helperName = "sgx-quote-helper"

// Places returns all places.
func Places() []Place { return []Place{Node, Helper, OtherDaemon, Application} }

func (p *Place) String() string { return string(*p) }

// Type is the type of a flag with a place.
func (p *Place) Type() string { return "place" }

// Set sets the place to one with a name.
func (p *Place) Set(name string) error {
	if !slices.Contains(Places(), Place(name)) {
		return errors.New("must be node, helper, daemon or application")
	}
	*p = Place(name)
	return nil
}

// Here returns the place of this process, if told is what a daemon here reports of itself,
// which may be nil.
func Here(told *daemon.State) Place {
	switch {
	case sees(told) && told.Daemon == helperName:
		return Helper
	case sees(told):
		return OtherDaemon
	case inPod():
		return Application
	}
	return Node
}

// sees reports whether the daemon sees the same files as this process.
func sees(told *daemon.State) bool {
	return told != nil && told.Settings != nil && told.Files != "" && told.Files == daemon.Files()
}

// inPod reports whether this process runs in a pod of Kubernetes. The kubelet sets the
// variable, and mounts /etc/hosts from its directory of the pod.
func inPod() bool {
	if _, set := os.LookupEnv("KUBERNETES_SERVICE_HOST"); set {
		return true
	}
	for point, m := range mounts("/proc/self/mountinfo") {
		if point == "/etc/hosts" && strings.HasSuffix(m.root, "/etc-hosts") && strings.Contains(m.root, "/pods/") {
			return true
		}
	}
	return false
}

// mount is a mount of proc_pid_mountinfo(5).
type mount struct{ root, options string }

// mounts returns the mounts in a file such as /proc/self/mountinfo, by mount point. Of
// several at one point it returns the last, which hides the others.
func mounts(path string) map[string]mount {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	found := make(map[string]mount)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// number, parent, device, root, mount point, options
		if fields := strings.Fields(lines.Text()); len(fields) > 5 {
			found[fields[4]] = mount{fields[3], fields[5]}
		}
	}
	return found
}

// irrelevant returns why a check does not matter here, empty if it does.
func (d *Doctor) irrelevant(check string) string {
	inProcess := slices.Contains([]string{"group", "libraries", "enclaves", "providers", "configuration", "network", "clock"}, check)
	own := inProcess || slices.Contains([]string{"processor", "driver", "devices", "noexec", "environment"}, check)
	switch {
	case check == limitCheck && d.Place != Application:
		return "only the containers of applications need an EPC limit"
	case check == helperCheck && d.Told == nil:
		return "no daemon of confcom reports its state here"
	case d.Place == OtherDaemon && (inProcess || slices.Contains([]string{"noexec", "environment", "socket", quoteCheck}, check)):
		return "this daemon makes no quotes: run it in the pod of sgx-quote-helper"
	case d.Place == Application && (check == "driver" || check == "group" || inProcess && !d.makesQuotes()):
		return "this is an application's pod: the node's quote helper has it"
	case d.Place == Helper && own && d.platform() == "simulated":
		return "the quote helper's platform is simulated: it needs neither SGX nor Intel's libraries"
	case d.Place == Helper && own && d.platform() == "upstream":
		return "the daemon behind " + d.Told.Flags["upstream-socket"] + " makes the quotes"
	}
	return ""
}

// hasProvision reports whether there is a provision device, with which applications make
// quotes themselves.
func (d *Doctor) hasProvision() bool { return d.hasDevice(deviceNames()[1]) }

// makesQuotes reports whether an application here can make quotes itself: with the
// provision device and Intel's quoting library.
func (d *Doctor) makesQuotes() bool {
	_, installed := d.find(d.Library)
	return installed && d.hasProvision()
}

// limit checks that the container has an EPC (Enclave Page Cache) limit, with which it gets
// the enclave device and the directory of the quote helper's socket.
func (d *Doctor) limit(context.Context) Check {
	dir := filepath.Dir(d.Socket)
	real, err := filepath.EvalSymlinks(d.path(dir))
	if err != nil {
		real = dir
	}
	found := mounts(d.path("/proc/self/mountinfo"))
	_, byName := found[dir]
	_, byRealName := found[real]
	device := ""
	if d.hasDevice(deviceNames()[0]) {
		device, _ = d.device(deviceNames()[0])
	}
	remedy := fmt.Sprintf("add the limit %s: 10 (a number of MiB) to resources of this container in the pod's manifest; each container that uses SGX needs one of its own", epc.DefaultResource)
	inv, _ := d.Machine.Discover() // the check processor has the error
	switch mounted := byName || byRealName; {
	case device != "" && mounted:
		return ok("this container has " + device + " and " + dir + ", which come with an EPC limit")
	case device != "":
		return warning(dir+" is not mounted into this container", "if the device does not come from an EPC limit, set one: it also mounts that directory; if it does, the chart's value aesmDir is empty")
	case mounted && inv.EPC() > 0:
		return problem("this container has no SGX device, although the node has EPC: "+dir+" is mounted, but not by an EPC limit", remedy)
	case mounted:
		return ok("this container has " + dir + ", which comes with an EPC limit; it has no SGX device, as the EPC of this node is simulated")
	}
	return problem("this container has no EPC limit: it has neither an SGX device nor "+dir, remedy)
}
