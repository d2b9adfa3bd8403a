package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/confcom/confcom/internal/loadgen"
)

// BenchmarkWorkers measures the throughput of different numbers of workers, each of which
// takes 5 ms for a quote, with 16 clients that request quotes without pause. The numbers
// of workers take turns; each ratio is to one worker in the same round.
func BenchmarkWorkers(b *testing.B) {
	const rounds, roundTime, delay = 5, 2 * time.Second, 5 * time.Millisecond
	counts := []int{1, 2, 4, 8}
	nodes := make(map[int]*node)
	for _, workers := range counts {
		nodes[workers] = start(b, workers, delay)
	}
	rates, ratios := make(map[int][]float64), make(map[int][]float64)
	for b.Loop() {
		for range rounds {
			for _, workers := range counts {
				ask, err := loadgen.Quotes(b.Context(), nodes[workers].client(), makeReport, 0)
				if err != nil {
					b.Fatal(err)
				}
				result := loadgen.Run(b.Context(), loadgen.Options{Clients: 16, Duration: roundTime, Do: ask}, nil)
				if result.Failed > 0 {
					b.Fatal(result.Failures)
				}
				rates[workers] = append(rates[workers], result.Rate())
				last := len(rates[workers]) - 1
				ratios[workers] = append(ratios[workers], result.Rate()/rates[1][last]/float64(workers))
			}
		}
	}
	lines := []string{"| workers | quotes/s | ratio to that many times one worker |", "|---|---|---|"}
	for _, workers := range counts {
		lines = append(lines, fmt.Sprintf("| %d | %.0f | %.2f |", workers, median(rates[workers]), median(ratios[workers])))
	}
	fmt.Printf("\n%s\n\n", strings.Join(lines, "\n"))
}

// median returns the median of the values, which it sorts.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
