// Package manifest converts Kubernetes manifests that were written for other SGX plugins to
// the resources of confcom. It changes the bytes that must change and no others, so that
// comments, order and quoting stay as they are.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/validate/content"
)

// Finding is something in a manifest that was changed, or that somebody must look at.
type Finding struct {
	Line   int    // where, from 1
	Where  string // the object and the container, such as "Job hello, container main"; may be empty
	Detail string
}

// Result is a converted manifest.
type Result struct {
	// Text is the manifest. It is the former text if there are no changes.
	Text []byte
	// Changes are what was changed.
	Changes []Finding
	// Notes are what was left as it is, though it may not work.
	Notes []Finding
}

// ErrTemplate is returned for the templates of a Helm chart.
var ErrTemplate = errors.New(`this is a template of a chart: convert what "helm template" prints`)

// DefaultResource is the name of the resource that counts MiB of EPC, unless the chart was
// told another one.
const DefaultResource = "kubernetes.azure.com/sgx_epc_mem_in_MiB"

// Convert converts a manifest: any number of objects, in YAML or JSON. EPC is requested as
// resource, which counts MiB.
func Convert(text []byte, resource string) (Result, error) {
	if problems := content.IsLabelKey(resource); len(problems) > 0 || !strings.Contains(resource, "/") {
		return Result{}, fmt.Errorf("%q is not the name of an extended resource, such as %s", resource, DefaultResource)
	}
	if resource == intelEPC {
		return Result{}, fmt.Errorf("%s counts bytes: EPC is requested by the name of a resource that counts MiB", resource)
	}
	c := newConversion(text, resource)
	if err := c.documents(); err != nil {
		return Result{}, err
	}
	out, err := c.text.apply(c.edits)
	if err != nil {
		return Result{}, err
	}
	// What was written must be what was meant. A second conversion that finds something to
	// change, or cannot read the text, shows that it is not.
	again := newConversion(out, resource)
	if err := again.documents(); err != nil {
		return Result{}, fmt.Errorf("the converted manifest would be damaged, so nothing was written; convert it by hand: %w", err)
	}
	if len(again.changes) > 0 {
		left := again.changes[0]
		return Result{}, fmt.Errorf("line %d cannot be converted, so nothing was written; convert it by hand: %s", left.Line, left.Detail)
	}
	byLine := func(a, b Finding) int { return a.Line - b.Line }
	slices.SortStableFunc(c.changes, byLine)
	slices.SortStableFunc(c.notes, byLine)
	return Result{Text: out, Changes: c.changes, Notes: c.notes}, nil
}

// conversion is the state of one conversion.
type conversion struct {
	epc     string           // the name of the resource that counts MiB
	units   map[string]int64 // the bytes that one of each resource stands for
	text    *source
	edits   []edit
	changes []Finding
	notes   []Finding

	object    string // the object that is being converted
	container string // the container, if it is one

	// Aliases lead to a node more than once.
	seen   map[*yaml.Node]bool  // what has been converted or understood
	limits map[*yaml.Node]int64 // the MiB in limits and requests
}

func newConversion(text []byte, resource string) *conversion {
	units := names()
	units[resource] = mib
	return &conversion{epc: resource, units: units, text: newSource(text), seen: make(map[*yaml.Node]bool), limits: make(map[*yaml.Node]int64)}
}

func (c *conversion) where() string {
	if c.container == "" {
		return c.object
	}
	return c.object + ", container " + c.container
}

// change records that a change is made at n.
func (c *conversion) change(n *yaml.Node, format string, args ...any) {
	c.changes = append(c.changes, Finding{n.Line, c.where(), fmt.Sprintf(format, args...)})
}

// note records something that is left as it is.
func (c *conversion) note(n *yaml.Node, format string, args ...any) {
	c.notes = append(c.notes, Finding{n.Line, c.where(), fmt.Sprintf(format, args...)})
}

// documents converts all documents of the text.
func (c *conversion) documents() error {
	decoder := yaml.NewDecoder(bytes.NewReader(c.text.bytes))
	for {
		var document yaml.Node
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && bytes.Contains(c.text.bytes, []byte("{{")):
			return ErrTemplate
		case err != nil:
			return err
		}
		c.object, c.container = "", ""
		if err := c.walk(&document); err != nil {
			return err
		}
		c.object, c.container = "", ""
		c.leftovers(&document)
	}
}

// walk converts what is below n: objects, lists of objects, and templates of pods wherever
// they are, because custom resources contain them as well.
func (c *conversion) walk(n *yaml.Node) error {
	n = resolve(n)
	if n.Kind == yaml.MappingNode {
		if kind, name := scalar(get(n, "kind")), scalar(get(get(n, "metadata"), "name")); kind != "" && scalar(get(n, "apiVersion")) != "" && kind != "List" {
			defer func(outer string) { c.object = outer }(c.object)
			c.object = kind
			if name != "" {
				c.object += " " + name
			}
		}
		if spec := resolve(get(n, "spec")); isSequence(get(spec, "containers")) {
			return c.pod(n, spec)
		}
	}
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode || n.Kind == yaml.DocumentNode {
		for _, child := range n.Content {
			if child.Kind == yaml.AliasNode {
				continue // its anchor is in the same document
			}
			if err := c.walk(child); err != nil {
				return err
			}
		}
	}
	return nil
}

// leftovers notes names of other plugins that are in no container, such as those in the
// values of a chart.
func (c *conversion) leftovers(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; c.units[key.Value] != 0 && key.Value != c.epc && !c.seen[key] {
				c.note(key, "%s is in no container: left as it is", key.Value)
			}
		}
	}
	for _, child := range n.Content {
		c.leftovers(child)
	}
}

// resolve follows an alias to its anchor.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// get returns the value of a key of a mapping, or nil.
func get(n *yaml.Node, key string) *yaml.Node {
	n = resolve(n)
	if i := index(n, key); i >= 0 {
		return resolve(n.Content[2*i+1])
	}
	return nil
}

// scalar returns the text of a scalar, or "".
func scalar(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

func isSequence(n *yaml.Node) bool { return n != nil && n.Kind == yaml.SequenceNode }

// items returns the items of a sequence, anchors instead of aliases.
func items(n *yaml.Node) []*yaml.Node {
	if !isSequence(n) {
		return nil
	}
	var all []*yaml.Node
	for _, item := range n.Content {
		all = append(all, resolve(item))
	}
	return all
}
