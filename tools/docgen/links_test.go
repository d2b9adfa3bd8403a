package main

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// markdown is a page: the links on it and the anchors of its headings.
type markdown struct {
	links   []string
	anchors map[string]bool
}

// Every relative link leads to a file of the repository, every anchor to a heading,
// and every page of docs can be reached from the README.
func TestLinks(t *testing.T) {
	pages := readPages(t)
	for name, page := range pages {
		for _, link := range page.links {
			if err := check(pages, name, link); err != nil {
				t.Errorf("%s: link %s: %v", name, link, err)
			}
		}
	}
	reached := make(map[string]bool)
	var visit func(name string)
	visit = func(name string) {
		if pages[name] == nil || reached[name] {
			return
		}
		reached[name] = true
		for _, link := range pages[name].links {
			file, _ := target(name, link)
			visit(file)
			visit(filepath.Join(file, "README.md"))
		}
	}
	visit("README.md")
	for name := range pages {
		if strings.HasPrefix(name, "docs/") && !reached[name] {
			t.Errorf("%s cannot be reached by links from README.md: add it to the index of its folder", name)
		}
	}
}

// Commands install the chart of a release. That of the checkout names images that only
// developers have: an upgrade to it breaks an installation.
func TestCommandsUseTheRegistry(t *testing.T) {
	commands := regexp.MustCompile(`helm (?:install|upgrade) [^\n]*charts/confcom`)
	count := 0
	for name := range readPages(t) {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range commands.FindAllString(string(content), -1) {
			count++
			if !strings.Contains(command, "oci://") {
				t.Errorf("%s: %s: use oci://REGISTRY/confcom/charts/confcom", name, command)
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d commands", count)
	}
}

// Lines of prose have at most 120 characters. Tables, code and links may be longer.
func TestLineLength(t *testing.T) {
	const most = 120
	for name := range readPages(t) {
		if strings.HasPrefix(name, "docs/reference/") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		number, code := 0, false
		for line := range strings.Lines(string(content)) {
			line = strings.TrimSuffix(line, "\n")
			number++
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				code = !code
			}
			if length := utf8.RuneCountInString(line); length > most && !code && !strings.HasPrefix(line, "|") {
				t.Errorf("%s:%d has %d characters: wrap it after at most %d", name, number, length, most)
			}
		}
	}
}

// readPages reads every Markdown file of the repository, but what was built or
// installed.
func readPages(t *testing.T) map[string]*markdown {
	t.Helper()
	pages := make(map[string]*markdown)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch entry.Name() {
			case ".git", "bin", "dist", "node_modules", "testdata":
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".md" {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pages[filepath.ToSlash(name)] = parse(source)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages["README.md"] == nil {
		t.Fatal("no README.md: the test must run in tools/docgen of the repository")
	}
	return pages
}

// parse returns the links and anchors of a page.
func parse(source []byte) *markdown {
	page := &markdown{anchors: make(map[string]bool)}
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the function fails never
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			anchor := slug(plain(n, source))
			for i := 1; page.anchors[anchor]; i++ {
				anchor = fmt.Sprintf("%s-%d", slug(plain(n, source)), i)
			}
			page.anchors[anchor] = true
		case *ast.Link:
			page.links = append(page.links, string(n.Destination))
		case *ast.Image:
			page.links = append(page.links, string(n.Destination))
		}
		return ast.WalkContinue, nil
	})
	return page
}

// plain returns the text of a node without its marks.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	for child := n.FirstChild(); child != nil; child = child.NextSibling() {
		if t, ok := child.(*ast.Text); ok {
			b.Write(t.Value(source))
		} else {
			b.WriteString(plain(child, source))
		}
	}
	return b.String()
}

// slug returns the anchor that GitHub gives a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

var elsewhere = regexp.MustCompile(`^[a-z]+:`)

// target returns the file that a link on a page leads to, and the anchor in it.
func target(page, link string) (file, anchor string) {
	if elsewhere.MatchString(link) {
		return "", ""
	}
	path, anchor, _ := strings.Cut(link, "#")
	if path, err := url.PathUnescape(path); err == nil && path != "" {
		return filepath.ToSlash(filepath.Join(filepath.Dir(page), path)), anchor
	}
	return page, anchor
}

func check(pages map[string]*markdown, page, link string) error {
	file, anchor := target(page, link)
	if file == "" {
		return nil
	}
	if strings.HasPrefix(file, "..") {
		return fmt.Errorf("leads out of the repository")
	}
	if _, err := os.Stat(filepath.Join(root, file)); err != nil {
		return fmt.Errorf("no such file")
	}
	if anchor != "" && (pages[file] == nil || !pages[file].anchors[anchor]) {
		return fmt.Errorf("no such heading in %s", file)
	}
	return nil
}

// A test of links that finds nothing would say that all is well.
func TestCheckFindsDeadLinks(t *testing.T) {
	page := parse([]byte("# Two words: `code`\n\n## Same\n\n## Same\n\n[a](#two-words-code) [b](README.md)\n"))
	pages := map[string]*markdown{"docs/performance.md": page}
	for link, dead := range map[string]bool{
		"#two-words-code": false, "#same": false, "#same-1": false, "../README.md": false, "https://example.org/x": false, "../charts": false,
		"#same-2": true, "#two-words": true, "missing.md": true, "../../x.md": true, "../README.md#no-such-heading": true,
	} {
		if err := check(pages, "docs/performance.md", link); (err != nil) != dead {
			t.Errorf("%s: %v, want dead=%t", link, err, dead)
		}
	}
	if len(page.links) != 2 {
		t.Errorf("links are %q", page.links)
	}
}
