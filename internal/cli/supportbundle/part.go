package supportbundle

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/confcom/confcom/internal/cli/output"
)

// maxPart bounds the size of a part. Of a longer one, such as a log, the end is kept.
const maxPart = 4 << 20

// part is a file of a bundle.
type part struct {
	name    string // in the archive
	about   string // what it is
	private string // what in it may be private; empty for nothing
	get     func(context.Context) ([]byte, error)
}

// errNone is the error of a part that need not exist, and is not listed.
var errNone = errors.New("there is none")

// collectedPart is a part that was collected, or the reason why there is none.
type collectedPart struct {
	part
	data []byte
	err  error
}

// collect collects parts, those that may be private first. A part that was not got is no
// failure: the bundle is for machines on which something fails.
func collect(ctx context.Context, parts []part) (collected []collectedPart) {
	for _, p := range parts {
		data, err := p.get(ctx)
		if errors.Is(err, errNone) {
			continue
		}
		if len(data) > maxPart {
			data = append([]byte("[the beginning was left out]\n"), data[len(data)-maxPart:]...)
		}
		collected = append(collected, collectedPart{p, data, err})
	}
	slices.SortStableFunc(collected, func(a, b collectedPart) int {
		return cmp.Compare(rank(a), rank(b))
	})
	return collected
}

// printed returns a function that runs another command of confcom and returns what it
// prints. That its answer is no is no failure.
func printed(command func() *cobra.Command, args ...string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		var out bytes.Buffer
		c := command()
		c.SetOut(&out)
		c.SetErr(&out)
		c.SetArgs(append([]string{}, args...)) // nil would mean those of the program
		c.SilenceErrors, c.SilenceUsage = true, true
		err := c.ExecuteContext(ctx)
		if out.Len() > 0 {
			return out.Bytes(), nil
		}
		return nil, err
	}
}

// rank returns the place of a part in the list: what may be private, the rest, and what was
// not got.
func rank(p collectedPart) int {
	switch {
	case len(p.data) == 0:
		return 2
	case p.private != "":
		return 0
	}
	return 1
}

// leftOut is what no bundle has.
const leftOut = "passwords and queries in URLs, values of HTTP headers, the platform's certificates and keys, the environment of other processes, Secrets"

// contents returns the list of what is in a bundle: what may be private, the rest, and what
// was not got.
func contents(w io.Writer, collected []collectedPart) error {
	p := output.NewPage(w)
	titles := []string{"May be private: read it before you send it", "Not private", "Not collected"}
	last := -1
	for _, c := range collected {
		if r := rank(c); r != last {
			if last >= 0 {
				p.Line("")
			}
			p.Line(titles[r])
			last = r
		}
		switch {
		case len(c.data) == 0 && c.err != nil:
			p.Text("", c.name+": "+firstLine(c.err.Error()))
		case len(c.data) == 0:
			p.Text("", c.name+": empty")
		case c.private != "":
			p.Text(size(len(c.data)), c.name+": "+c.about+"; has "+c.private)
		default:
			p.Text(size(len(c.data)), c.name+": "+c.about)
		}
	}
	p.Line("")
	p.Text("Left out", leftOut)
	return p.Err()
}

// show prints the list of contents before the archive is written.
func show(w io.Writer, collected []collectedPart) error {
	if err := contents(w, collected); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func size(n int) string {
	if n < 10_000 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// write writes a bundle: a directory with the list of contents and the parts. What a part
// reported as an error follows what was got of it.
func write(w io.Writer, collected []collectedPart, now time.Time) error {
	var list bytes.Buffer
	if err := contents(&list, collected); err != nil {
		return err
	}
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	add := func(name string, data []byte) error {
		header := &tar.Header{Name: "confcom-support/" + name, Mode: 0o644, Size: int64(len(data)), ModTime: now.Truncate(time.Second)}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(data)
		return err
	}
	if err := add("CONTENTS.txt", list.Bytes()); err != nil {
		return err
	}
	for _, c := range collected {
		if len(c.data) == 0 {
			continue
		}
		if err := add(c.name, c.data); err != nil {
			return err
		}
		if c.err != nil {
			if err := add(c.name+".error", []byte(c.err.Error()+"\n")); err != nil {
				return err
			}
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zip.Close()
}
