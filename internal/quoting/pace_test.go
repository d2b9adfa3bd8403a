package quoting

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		add  func(p *pace)
		want time.Duration
	}{
		{"nothing measured", func(*pace) {}, 0},
		{"too few services", func(p *pace) { serveTimes(p, paceEnough-1, ms) }, 0},
		{"enough services", func(p *pace) { serveTimes(p, paceEnough, ms) }, ms},
		{"the longest quarter is ignored", func(p *pace) {
			serveTimes(p, paceWindow/paceTrim, time.Second)
			serveTimes(p, paceWindow-paceWindow/paceTrim, 6*ms)
		}, 6 * ms},
		{"two kinds", func(p *pace) {
			for range paceWindow {
				serveTimes(p, 1, 0)
				serveTimes(p, 1, 9*ms)
			}
		}, 3 * ms}, // 8 of the last 24
		{"the last ones count", func(p *pace) {
			serveTimes(p, 100, time.Second)
			serveTimes(p, paceWindow, ms)
		}, ms},
		{"cut off after long", func(p *pace) {
			for range paceWindow {
				p.cutOff(Deadline)
			}
		}, Deadline},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := new(pace)
			tt.add(p)
			if got := p.perRequest(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// While all services are cut off, however soon, the pace grows.
func TestPaceOfCutOffs(t *testing.T) {
	p := new(pace)
	serveTimes(p, paceWindow, time.Millisecond)
	for range 5 {
		before := p.perRequest()
		for range paceWindow {
			p.cutOff(0)
		}
		if got := p.perRequest(); got < 2*before {
			t.Errorf("%s after %s", got, before)
		}
	}
	for range 100 * paceWindow {
		p.cutOff(0)
	}
	if got := p.perRequest(); got != Deadline {
		t.Errorf("%s, want at most %s", got, Deadline)
	}
}

func serveTimes(p *pace, n int, d time.Duration) {
	for range n {
		p.served(d)
	}
}
