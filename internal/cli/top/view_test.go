package top

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	at := time.Unix(1e9, 0)
	pageOf := func(seconds int, values ...float64) *page {
		p := &page{at: at.Add(time.Duration(seconds) * time.Second), series: make(map[string][]series)}
		for i, v := range values {
			p.series["errors_total"] = append(p.series["errors_total"], series{map[string]string{"layer": fmt.Sprint("layer", i)}, v})
		}
		return p
	}
	for _, tt := range []struct {
		name        string
		now, before *page
		want        string
	}{
		{"two polls", pageOf(5, 20, 3), pageOf(0, 10, 3), "map[layer0:2 layer1:0]"},
		{"a new series", pageOf(5, 20, 5), pageOf(0, 10), "map[layer0:2 layer1:1]"},
		{"the daemon has restarted", pageOf(5, 5), pageOf(0, 1000), "map[layer0:1]"},
		{"the first poll", pageOf(5, 20), nil, "map[]"},
		{"no answer", nil, pageOf(0, 20), "map[]"},
		{"at the same time", pageOf(0, 20), pageOf(0, 10), "map[]"},
	} {
		if got := fmt.Sprint(poll{now: tt.now, before: tt.before}.rates("errors_total", "layer", nil)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Of many pods, as many are shown as the screen has room for.
func TestHeight(t *testing.T) {
	v := view{Nodes: []nodeView{{Name: "a"}}, Notes: []string{"a note"}}
	for i := range 50 {
		v.Pods = append(v.Pods, podView{Namespace: "default", Name: fmt.Sprint("pod-", i)})
	}
	for _, tt := range []struct {
		height, lines int
		want          string
	}{
		{0, 58, "default/pod-49"},
		{100, 58, "default/pod-49"},
		{59, 58, "default/pod-49"},
		{58, 57, "default/pod-47"},
		{24, 23, "and 36 more pods"},
		{1, 10, "and 49 more pods"},
	} {
		var text strings.Builder
		if err := v.write(&text, tt.height); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(text.String(), "\n"); got != tt.lines || !strings.Contains(text.String(), tt.want) || !strings.Contains(text.String(), "a note") {
			t.Errorf("height %d: %d lines, want %d with %q:\n%s", tt.height, got, tt.lines, tt.want, text.String())
		}
	}
}
