package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// schema is as much of a JSON schema as the chart's uses.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       string             `json:"type"`
	Enum       []any              `json:"enum"`
	Const      any                `json:"const"`
	AnyOf      []*schema          `json:"anyOf"`
	Pattern    string             `json:"pattern"`
	Minimum    *int               `json:"minimum"`
	Maximum    *int               `json:"maximum"`
	Items      *schema            `json:"items"`
	Properties map[string]*schema `json:"properties"`
	Defs       map[string]*schema `json:"$defs"`
}

// valuesDoc writes the values of the chart with their comments.
type valuesDoc struct {
	defs map[string]*schema
	text strings.Builder
}

func valuesPage() (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "charts", "confcom", "values.yaml"))
	if err != nil {
		return "", err
	}
	var values yaml.Node
	if err := yaml.Unmarshal(text, &values); err != nil {
		return "", fmt.Errorf("values.yaml: %w", err)
	}
	if text, err = os.ReadFile(filepath.Join(root, "charts", "confcom", "values.schema.json")); err != nil {
		return "", err
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		return "", fmt.Errorf("values.schema.json: %w", err)
	}
	d := &valuesDoc{defs: s.Defs}
	d.write("", values.Content[0], &s)
	return d.text.String(), nil
}

// write describes the members of a mapping. A mapping with members of its own has
// no default: they have.
func (d *valuesDoc) write(prefix string, mapping *yaml.Node, s *schema) {
	s = d.resolve(s)
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := prefix + key.Value
		var member *schema
		if s != nil {
			member = s.Properties[key.Value]
		}
		level := "##"
		if prefix != "" {
			level = "###"
		}
		// A comment that a blank line separates is about the values that follow.
		if i := strings.LastIndex(key.HeadComment, "\n\n"); i >= 0 {
			title, text, _ := strings.Cut(strings.TrimPrefix(key.HeadComment[:i], "# "), ". ")
			fmt.Fprintf(&d.text, "%s %s\n\n", level, title)
			d.comment("# " + text)
			key.HeadComment = key.HeadComment[i+2:]
		}
		fmt.Fprintf(&d.text, "%s %s\n\n", level, name)
		note := strings.TrimSpace(strings.TrimPrefix(value.LineComment, "#"))
		group := value.Kind == yaml.MappingNode && len(value.Content) > 0 && value.Style&yaml.FlowStyle == 0
		if !group {
			fmt.Fprintf(&d.text, "Default: %s. ", "`"+standard(value)+"`")
			if accepts := d.accepts(member); accepts != "" {
				fmt.Fprintf(&d.text, "Accepts: %s.", accepts)
			}
			d.text.WriteString("\n\n")
		}
		d.comment(key.HeadComment)
		if note != "" {
			fmt.Fprintf(&d.text, "If it is empty: %s.\n\n", prose(note))
		}
		if group {
			d.inherited(value, member)
			d.write(name+".", value, member)
		}
	}
}

// inherited lists the values that a group can have although the file does not list them:
// those of the top level with the same name, for this group alone.
func (d *valuesDoc) inherited(mapping *yaml.Node, s *schema) {
	if s = d.resolve(s); s == nil {
		return
	}
	listed := make(map[string]bool)
	for i := 0; i < len(mapping.Content); i += 2 {
		listed[mapping.Content[i].Value] = true
	}
	var links []string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if !listed[name] {
			links = append(links, "[`"+name+"`](#"+strings.ToLower(name)+")")
		}
	}
	if len(links) > 0 {
		fmt.Fprintf(&d.text, "It can also have these values of [pods](#pods): %s.\n\n", strings.Join(links, ", "))
	}
}

// comment writes a comment. Its indented lines are a list, which stays as it is.
func (d *valuesDoc) comment(text string) {
	var list, paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			d.text.WriteString(prose(strings.Join(paragraph, " ")) + "\n\n")
		}
		if len(list) > 0 {
			d.text.WriteString(block("text", strings.Join(list, "\n")))
		}
		list, paragraph = nil, nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ")
		if indented := strings.HasPrefix(line, "  "); indented {
			if len(paragraph) > 0 {
				flush()
			}
			list = append(list, strings.TrimPrefix(line, "  "))
			continue
		}
		if len(list) > 0 || line == "" {
			flush()
		}
		if line != "" {
			paragraph = append(paragraph, line)
		}
	}
	flush()
}

// standard returns a default as it is written.
func standard(value *yaml.Node) string {
	value.HeadComment, value.LineComment, value.FootComment = "", "", ""
	if value.Kind == yaml.ScalarNode && value.Value == "" {
		return `""`
	}
	text, err := yaml.Marshal(value)
	if err != nil {
		return value.Value
	}
	return strings.TrimSpace(string(text))
}

func (d *valuesDoc) resolve(s *schema) *schema {
	for s != nil && s.Ref != "" {
		s = d.defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
	}
	return s
}

// accepts returns what a value may be, by its schema.
func (d *valuesDoc) accepts(s *schema) string {
	if s = d.resolve(s); s == nil {
		return ""
	}
	var any []string
	for _, one := range s.AnyOf {
		any = append(any, d.accepts(one))
	}
	for _, one := range s.Enum {
		any = append(any, literal(one))
	}
	if s.Const != nil {
		any = append(any, literal(s.Const))
	}
	if len(any) > 0 {
		return strings.Join(any, " or ")
	}
	text := cmp.Or(s.Type, "any")
	if s.Items != nil {
		text += " of " + d.accepts(s.Items)
	}
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		text += fmt.Sprintf(" from %d to %d", *s.Minimum, *s.Maximum)
	case s.Minimum != nil:
		text += fmt.Sprintf(" from %d", *s.Minimum)
	}
	if s.Pattern != "" {
		text += " that matches `" + s.Pattern + "`"
	}
	return text
}

func literal(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return "`" + string(text) + "`"
}
