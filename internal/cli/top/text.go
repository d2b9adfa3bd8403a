package top

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// write writes a view as text, at most height lines of it unless height is 0. Pods give way
// to the rest.
func (v view) write(w io.Writer, height int) error {
	var total nodeView
	for _, n := range v.Nodes {
		total.AllocatableMiB += n.AllocatableMiB
		total.RequestedMiB += n.RequestedMiB
		if n.QuotesPerSecond != nil {
			total.QuotesPerSecond = plus(total.QuotesPerSecond, *n.QuotesPerSecond)
		}
	}
	head := []string{fmt.Sprintf("%s  nodes %d  EPC %s requested of %s MiB  quotes %s/s  errors %s",
		v.Time.Format("15:04:05"), len(v.Nodes), strconv.FormatInt(total.RequestedMiB, 10), strconv.FormatInt(total.AllocatableMiB, 10), rate(total.QuotesPerSecond), byLayer(v.ErrorsPerSecond)), ""}

	rows := [][]string{{"NODE", "EPC MiB", "REQUESTED", "MAPPED", "MODE", "QUOTES", "PER S", "ERRORS/S", "WAITING", "BUSY", "WORKERS"}}
	for _, n := range v.Nodes {
		rows = append(rows, []string{n.Name, strconv.FormatInt(n.AllocatableMiB, 10), strconv.FormatInt(n.RequestedMiB, 10), mebibytes(n.MappedMiB), or(n.EPC), n.Quotes.String(),
			rate(n.QuotesPerSecond), byLayer(n.ErrorsPerSecond), count(n.Waiting), count(n.InService) + "/" + count(n.Concurrency), count(n.Workers)})
	}
	head = append(head, table(rows)...)

	rows = [][]string{{"POD", "NODE", "EPC MiB", "MAPPED", "PER S", "ERRORS/S", "PHASE"}}
	for _, p := range v.Pods {
		rows = append(rows, []string{p.Namespace + "/" + p.Name, or(p.Node), strconv.FormatInt(p.RequestedMiB, 10), mebibytes(p.MappedMiB), rate(p.QuotesPerSecond), rate(p.ErrorsPerSecond), p.Phase})
	}
	pods := append([]string{""}, table(rows)...)
	var notes []string
	for _, note := range v.Notes {
		notes = append(notes, "- "+note)
	}
	if len(notes) > 0 {
		notes = append([]string{""}, notes...)
	}
	if room := height - 1 - len(head) - len(notes); height > 0 && len(pods) > room {
		const leastPods = 3 // the heading, a pod and how many there are
		room = max(room, leastPods+1)
		if hidden := len(pods) - room + 1; hidden > 0 && room-1 < len(pods) {
			pods = append(pods[:room-1:room-1], fmt.Sprintf("and %d more pods", hidden))
		}
	}
	_, err := fmt.Fprintln(w, strings.Join(slices.Concat(head, pods, notes), "\n"))
	return err
}

// table returns the lines of a table.
func table(rows [][]string) []string {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush() // to memory
	var lines []string
	for line := range strings.Lines(text.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}

// String returns "yes", or why there are no quotes.
func (q quotesView) String() string {
	switch {
	case q.Available == nil:
		return "-"
	case *q.Available:
		return "yes"
	case q.Reason == "":
		return "no"
	}
	return q.Reason
}

// byLayer returns rates of errors with their layers.
func byLayer(rates map[string]float64) string {
	if rates == nil {
		return "-"
	}
	var text []string
	for _, layer := range slices.Sorted(maps.Keys(rates)) {
		if rates[layer] > 0 {
			text = append(text, layer+" "+rate(plus(nil, rates[layer])))
		}
	}
	if len(text) == 0 {
		return "0"
	}
	return strings.Join(text, ", ")
}

// rate returns a rate with a digit after the point, more if it is small.
func rate(n *float64) string {
	switch {
	case n == nil:
		return "-"
	case *n == 0:
		return "0"
	case *n < 0.1:
		return strconv.FormatFloat(*n, 'g', 1, 64)
	}
	return strconv.FormatFloat(*n, 'f', 1, 64)
}

// mebibytes returns an amount of memory with at most a digit after the point.
func mebibytes(n *float64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatFloat(math.Round(10**n)/10, 'f', -1, 64)
}

// count returns a whole number.
func count(n *float64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatFloat(*n, 'f', 0, 64)
}

func or(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
