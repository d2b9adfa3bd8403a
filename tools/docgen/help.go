package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// daemons are the programs that run on nodes, in the order of the page.
func daemons() []string {
	return []string{"sgx-device-plugin", "sgx-node-resource", "sgx-quote-helper", "sgx-quote-worker"}
}

// programs are built programs, with the help that each of their commands prints.
type programs struct {
	dir  string            // where the programs are while they are asked
	help map[string]string // by command line, such as "confcom quote verify"
}

// helps builds all programs and asks each of their commands for its help. Reading
// --help rather than the flag sets shows what users see, wherever it is declared.
var helps = sync.OnceValues(func() (map[string]string, error) {
	dir, err := os.MkdirTemp("", "docgen-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	p := &programs{dir: dir, help: make(map[string]string)}
	if err := p.build(); err != nil {
		return nil, err
	}
	for _, name := range append(daemons(), "confcom") {
		if err := p.ask(name); err != nil {
			return nil, err
		}
	}
	if len(parseHelp(p.help["confcom"]).commands) == 0 {
		return nil, fmt.Errorf("confcom --help lists no commands, or in a form that parseHelp does not know:\n%s", p.help["confcom"])
	}
	for line, text := range p.help {
		if len(parseHelp(text).flags) == 0 {
			return nil, fmt.Errorf("%s --help lists no flags, or in a form that parseHelp does not know:\n%s", line, text)
		}
	}
	return p.help, nil
})

// build builds the programs as the Makefile does. Only the worker has C in it.
func (p *programs) build() error {
	for cgo, packages := range map[string][]string{
		"CGO_ENABLED=0": {"./cmd/confcom", "./cmd/sgx-device-plugin", "./cmd/sgx-node-resource", "./cmd/sgx-quote-helper"},
		"CGO_ENABLED=1": {"./cmd/sgx-quote-worker"},
	} {
		args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-o", p.dir + "/"}, packages...)
		command := exec.Command("go", args...)
		command.Dir, command.Env = root, append(os.Environ(), cgo)
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", strings.Join(packages, " "), err, output)
		}
	}
	return nil
}

// ask reads the help of a command, and of those that its help lists. The
// environment is empty, as defaults depend on it.
func (p *programs) ask(line string) error {
	args := strings.Fields(line)
	command := exec.Command(filepath.Join(p.dir, args[0]), append(args[1:], "--help")...)
	command.Env = []string{"NODE_NAME=$NODE_NAME"}
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s --help: %w\n%s", line, err, output)
	}
	p.help[line] = strings.ReplaceAll(string(output), p.dir+"/", "")
	for _, name := range parseHelp(p.help[line]).commands {
		if name != "help" && name != "completion" {
			if err := p.ask(line + " " + name); err != nil {
				return err
			}
		}
	}
	return nil
}

// help is what a command says of itself.
type help struct {
	about    string
	sections map[string]string // "Usage", "Examples" as they are
	commands []string
	flags    []flag
}

// flag is a flag as --help describes it.
type flag struct{ name, kind, about, standard string }

// parseHelp takes the text of --help apart, as cobra and pflag write it.
func parseHelp(text string) help {
	h := help{sections: make(map[string]string)}
	var section string
	var about []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if title, ok := strings.CutSuffix(line, ":"); ok && sectionTitles[title] {
			section = title
			continue
		}
		switch section {
		case "":
			about = append(about, line)
		case "Commands", "Available Commands":
			if name, _, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(line, "  ") {
				h.commands = append(h.commands, name)
			}
		default:
			h.sections[section] += line + "\n"
		}
	}
	h.about = strings.TrimSpace(strings.Join(about, "\n"))
	h.flags = parseFlags(h.sections["Flags"])
	return h
}

var sectionTitles = map[string]bool{"Usage": true, "Examples": true, "Commands": true, "Available Commands": true, "Flags": true, "Global Flags": true, "Aliases": true}

var (
	flagLine    = regexp.MustCompile(`^ +((?:-\w, )?--[\w-]+)(?: (\S+))?(?:  +(.*))?$`)
	defaultText = regexp.MustCompile(`^(.*?) ?\(default (.*)\)$`)
)

// parseFlags reads the usage of flags. A line that begins no flag continues the
// one before.
func parseFlags(text string) []flag {
	var flags []flag
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := flagLine.FindStringSubmatch(line); m != nil {
			flags = append(flags, flag{name: m[1], kind: m[2], about: m[3]})
		} else if more := strings.TrimSpace(line); more != "" && len(flags) > 0 && strings.HasPrefix(line, " ") {
			flags[len(flags)-1].about += " " + more
		}
	}
	for i, f := range flags {
		if m := defaultText.FindStringSubmatch(f.about); m != nil {
			flags[i].about, flags[i].standard = m[1], strings.Trim(m[2], `"`)
		}
	}
	return flags
}

func flagTable(flags []flag) string {
	var rows [][]string
	for _, f := range flags {
		rows = append(rows, []string{code(f.name), code(f.kind), code(f.standard), prose(f.about)})
	}
	return table([]string{"flag", "value", "default", ""}, rows)
}

// commands returns the command and all below it, in the order of their help.
func commands(helps map[string]string, line string) []string {
	all := []string{line}
	for _, name := range parseHelp(helps[line]).commands {
		if _, ok := helps[line+" "+name]; ok {
			all = append(all, commands(helps, line+" "+name)...)
		}
	}
	return all
}

func confcomPage() (string, error) {
	helps, err := helps()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	lines := commands(helps, "confcom")
	for _, line := range lines {
		fmt.Fprintf(&b, "- [%s](#%s)\n", line, strings.ReplaceAll(line, " ", "-"))
	}
	for _, line := range lines {
		h := parseHelp(helps[line])
		fmt.Fprintf(&b, "\n## %s\n\n%s", line, block("text", h.about))
		if usage := strings.TrimSpace(h.sections["Usage"]); usage != "" {
			b.WriteString(block("text", strings.ReplaceAll(usage, "\n  ", "\n")))
		}
		if examples := h.sections["Examples"]; strings.TrimSpace(examples) != "" {
			b.WriteString(block("sh", strings.ReplaceAll(strings.TrimSpace(examples), "\n  ", "\n")))
		}
		b.WriteString(flagTable(h.flags))
	}
	return strings.ReplaceAll(b.String(), "\n\n\n", "\n\n"), nil
}

func daemonsPage() (string, error) {
	helps, err := helps()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range daemons() {
		h := parseHelp(helps[name])
		fmt.Fprintf(&b, "## %s\n\n%s\n\n%s", name, h.about, flagTable(h.flags))
	}
	return b.String(), nil
}
