package manifest

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"
)

// What other plugins, and Intel's webhook, understand.
const (
	intelEPC       = "sgx.intel.com/epc"
	intelEnclave   = "sgx.intel.com/enclave"
	intelProvision = "sgx.intel.com/provision"
	quoteProvider  = "sgx.intel.com/quote-provider"
	ownProvider    = "confcom.github.io/quote-provider"
	aesmd          = "aesmd"
	aesmVariable   = "SGX_AESM_ADDR"
)

const mib = 1 << 20

// maxMiB is more EPC than any machine has, 4 TiB: it takes eight processors with the most that
// one of them supports.
const maxMiB = 4 << 20

// names returns the names for EPC that are understood, each with the bytes that one stands
// for.
func names() map[string]int64 {
	return map[string]int64{
		intelEPC:                           1,
		"alibabacloud.com/sgx_epc_MiB":     mib,
		DefaultResource:                    mib, // that of AKS as well
		"sgx.intel.com/sgx_epc_mem_in_MiB": mib, // misspelt in the documentation of AKS
		"openenclave.io/sgx_epc_MiB":       mib, // aks-engine
	}
}

// sgxLike matches names of resources that have to do with SGX.
var sgxLike = regexp.MustCompile(`(?i)sgx|(^|[^a-z])epc([^a-z]|$)`)

// pod converts a pod or the template of one, which is n with its spec.
func (c *conversion) pod(n, spec *yaml.Node) error {
	annotations := get(get(n, "metadata"), "annotations")
	provider := scalar(get(annotations, quoteProvider))
	byAESM := provider == aesmd || scalar(get(annotations, ownProvider)) == aesmd
	hasEPC := false
	for _, list := range []string{"initContainers", "containers"} {
		for _, container := range items(get(spec, list)) {
			if container.Kind != yaml.MappingNode || c.seen[container] {
				continue
			}
			c.seen[container] = true
			c.container = scalar(get(container, "name"))
			has, err := c.convertContainer(container, spec, provider, byAESM)
			if err != nil {
				return err
			}
			hasEPC = hasEPC || has
		}
	}
	c.container = ""
	if class := get(spec, "runtimeClassName"); scalar(class) != "" && hasEPC && get(annotations, "sgx.intel.com/epc") == nil {
		c.note(class, "Kata Containers give a virtual machine as much EPC as the annotation sgx.intel.com/epc of the pod says, such as 64Mi. Before Kubernetes 1.36, add it if this is a class of theirs")
	}
	for _, volume := range items(get(spec, "volumes")) {
		path := get(get(volume, "hostPath"), "path")
		switch p := scalar(path); {
		case strings.HasSuffix(p, "/aesm.socket"):
			c.note(path, "a mounted socket is dead once the daemon behind it restarts: leave out the volume, because containers with EPC have the directory /var/run/aesmd")
		case strings.HasPrefix(p, "/dev/sgx") || p == "/dev/isgx" || p == "/dev/gsgx":
			c.note(path, "a device that is a volume can be opened by privileged containers only: leave out the volume, because containers with EPC have the device")
		}
	}
	return nil
}

// convertContainer converts a container. It reports whether the container has EPC.
func (c *conversion) convertContainer(container, spec *yaml.Node, provider string, byAESM bool) (hasEPC bool, err error) {
	resources := get(container, "resources")
	limits, requests := get(resources, "limits"), get(resources, "requests")
	limit, err := c.amounts(limits, false)
	if err != nil {
		return false, err
	}
	hasEPC = limit > 0
	if limit > maxMiB {
		c.note(key(resources, "limits"), "%d MiB is more EPC than any machine has, so no node is found for it. %s counts bytes, other names count MiB", limit, intelEPC)
	}
	request, err := c.amounts(requests, hasEPC)
	if err != nil {
		return false, err
	}
	if request > 0 && request != limit {
		c.note(key(resources, "requests"), "the request for EPC differs from the limit: Kubernetes refuses such pods. Leave out the request")
	}
	environment := get(container, "env")
	var aesm *yaml.Node
	for _, variable := range items(environment) {
		name, value := scalar(get(variable, "name")), get(variable, "value")
		if name == aesmVariable {
			aesm = variable
		}
		if value == nil || c.seen[value] || !hasEPC && name != aesmVariable {
			continue
		}
		c.seen[value] = true
		if tag := value.ShortTag(); value.Kind == yaml.ScalarNode && (tag == "!!int" || tag == "!!bool" || tag == "!!float") {
			e, err := c.text.replace(value, strconv.Quote(value.Value))
			if err != nil {
				return false, err
			}
			c.edits = append(c.edits, e)
			c.change(value, "the value of %s becomes %q: Kubernetes refuses what is not a string", name, value.Value)
		}
	}
	if !hasEPC {
		if device := key(limits, intelEnclave); device != nil {
			c.note(device, "%s without EPC works where nodes have this resource: on Kubernetes 1.36 and newer, or with the chart value enclave.enabled=true", intelEnclave)
		} else if aesm != nil {
			c.note(aesm, "%s without a limit on EPC: the container has neither the device nor the AESM socket", aesmVariable)
		}
		return hasEPC, nil
	}
	if byAESM && aesm == nil && !c.seen[environment] {
		c.seen[environment] = environment != nil
		if err := c.addVariable(container, environment); err != nil {
			return false, err
		}
	}
	if name := scalar(get(container, "name")); provider == aesmd && name == aesmd {
		c.note(container, "this is Intel's daemon for quotes. The quote helper of the node has its place: leave out the container")
	} else if provider != "" && provider == name && key(limits, intelProvision) == nil && !c.seen[limits] {
		// Intel's webhook adds it.
		c.seen[limits] = true
		e, err := c.text.insertEntry(limits, 0, intelProvision+": 1", strconv.Quote(intelProvision)+": 1")
		if err != nil {
			return false, err
		}
		c.edits = append(c.edits, e)
		c.change(limits.Content[0], "%s: 1 is added, because the annotation %s names this container", intelProvision, quoteProvider)
		c.note(limits.Content[0], "%s", needsProvision)
	}
	if device := key(limits, intelProvision); device != nil {
		c.note(device, "%s", needsProvision)
	}
	user := get(get(container, "securityContext"), "runAsUser")
	if user == nil {
		user = get(get(spec, "securityContext"), "runAsUser")
	}
	if id := scalar(user); id != "" && id != "0" {
		c.note(user, `the user %s may not be able to open the device: "confcom node", run on the node, says what such pods need`, id)
	}
	return hasEPC, nil
}

const needsProvision = "the provision device needs the chart value provision.enabled=true, and the namespace in provision.namespaces. Quotes from the quote helper (" + aesmVariable + "=1) do not need it"

// amounts converts the names of EPC in a list of limits or requests. It returns how many MiB
// that is. hasEPC means that the container has EPC whatever is in this list.
func (c *conversion) amounts(list *yaml.Node, hasEPC bool) (int64, error) {
	if list == nil || list.Kind != yaml.MappingNode {
		return 0, nil
	}
	if known, again := c.limits[list]; again {
		return known, nil
	}
	c.limits[list] = 0
	type amount struct {
		entry int
		mib   int64
	}
	var amounts []amount
	enclave := -1
	for i := 0; 2*i+1 < len(list.Content); i++ {
		name, value := list.Content[2*i], resolve(list.Content[2*i+1])
		unit := c.units[name.Value]
		switch {
		case unit != 0:
			c.seen[name] = true
			n, err := count(scalar(value), unit)
			if err != nil {
				c.note(name, "%s: %v: left as it is", name.Value, err)
				continue
			}
			amounts = append(amounts, amount{i, n})
		case name.Value == intelEnclave:
			enclave = i
		case name.Value != intelProvision && sgxLike.MatchString(name.Value):
			c.note(name, "%s is not understood: left as it is. With confcom, containers request EPC in MiB: %s", name.Value, c.epc)
		}
	}
	if enclave >= 0 && (hasEPC || len(amounts) > 0) {
		if err := c.remove(list, enclave, "%s is removed: the device comes with EPC", intelEnclave); err != nil {
			return 0, err
		}
	}
	if len(amounts) == 0 {
		return 0, nil
	}
	largest := slices.MaxFunc(amounts, func(a, b amount) int { return cmp.Compare(a.mib, b.mib) }).mib
	// The first name of another plugin is replaced, unless the own name is there.
	keep := slices.IndexFunc(amounts, func(a amount) bool { return list.Content[2*a.entry].Value == c.epc })
	if keep < 0 {
		keep = 0
	}
	for i, a := range amounts {
		name, value := list.Content[2*a.entry], list.Content[2*a.entry+1]
		switch {
		case i != keep:
			if err := c.remove(list, a.entry, "%s is removed: %s: %d is the largest of the amounts here", name.Value, c.epc, largest); err != nil {
				return 0, err
			}
		case name.Value != c.epc || a.mib != largest:
			if err := c.replaceAmount(name, value, largest); err != nil {
				return 0, err
			}
		}
	}
	c.limits[list] = largest
	return largest, nil
}

// replaceAmount writes the own resource in the place of an entry.
func (c *conversion) replaceAmount(name, value *yaml.Node, n int64) error {
	text := c.epc
	if name.Style&yaml.DoubleQuotedStyle != 0 {
		text = strconv.Quote(c.epc) // JSON
	}
	newName, err := c.text.replace(name, text)
	if err != nil {
		return err
	}
	newValue, err := c.text.replace(value, strconv.FormatInt(n, 10))
	if err != nil {
		return err
	}
	c.edits = append(c.edits, newName, newValue)
	c.change(name, "%s: %s becomes %s: %d", name.Value, value.Value, c.epc, n)
	return nil
}

// remove removes an entry of a mapping.
func (c *conversion) remove(mapping *yaml.Node, entry int, format string, args ...any) error {
	e, err := c.text.remove(mapping, entry)
	if err != nil {
		return err
	}
	c.edits = append(c.edits, e)
	c.change(mapping.Content[2*entry], format, args...)
	return nil
}

// addVariable adds the variable that has Intel's library ask the AESM daemon.
func (c *conversion) addVariable(container, environment *yaml.Node) error {
	const (
		block = "- name: " + aesmVariable + "\n  value: \"1\""
		flow  = `{"name": "` + aesmVariable + `", "value": "1"}`
	)
	var e edit
	var err error
	at := container
	switch {
	case isSequence(environment) && (isFlow(environment) || len(environment.Content) > 0):
		at = environment
		e, err = c.text.insertItem(environment, block, flow)
	case key(container, "env") != nil:
		return fmt.Errorf("line %d: env is no list: add %s=1 by hand", key(container, "env").Line, aesmVariable)
	default:
		entry := max(index(container, "resources"), 0)
		at = container.Content[2*entry]
		e, err = c.text.insertEntry(container, entry, "env:\n"+block, `"env": [`+flow+"]")
	}
	if err != nil {
		return err
	}
	c.edits = append(c.edits, e)
	c.change(at, "%s=1 is added, because the annotation asks for quotes by %s", aesmVariable, aesmd)
	return nil
}

// index returns the number of the entry of a mapping with this key, or -1.
func index(n *yaml.Node, name string) int {
	if n == nil || n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; 2*i+1 < len(n.Content); i++ {
		if n.Content[2*i].Value == name {
			return i
		}
	}
	return -1
}

// key returns the key of an entry of a mapping, or nil.
func key(n *yaml.Node, name string) *yaml.Node {
	if i := index(n, name); i >= 0 {
		return n.Content[2*i]
	}
	return nil
}

// count returns how many MiB a quantity of units of bytes is, rounded up.
func count(text string, unit int64) (int64, error) {
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a quantity", text)
	}
	n := quantity.Value() // rounded up
	switch {
	case quantity.CmpInt64(n) != 0:
		return 0, fmt.Errorf("%s is not a whole number, or too large", text)
	case n <= 0:
		return 0, fmt.Errorf("%s is no amount", text)
	case unit == mib:
		return n, nil
	}
	return (n-1)/mib + 1, nil
}
