package aesm

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestFitQuote(t *testing.T) {
	tooSmall := fmt.Errorf("wrapped: %w", CodeParameter)
	for _, tt := range []struct {
		name   string
		sizes  []any // an int or an error for each call of size
		quotes []error
		want   error
		calls  []int // the arguments of size, quote, size, ...
	}{
		{"fits", []any{900}, []error{nil}, nil, []int{0, 900}},
		{"no size", []any{errStub}, nil, errStub, []int{0}},
		{"refused", []any{900}, []error{CodeBusy}, CodeBusy, []int{0, 900}},
		{"grew", []any{900, 1000}, []error{tooSmall, nil}, nil, []int{0, 900, 900, 1000}},
		{"grew twice", []any{900, 1000}, []error{tooSmall, CodeParameter}, CodeParameter, []int{0, 900, 900, 1000}},
		{"grew, then refused", []any{900, 1000}, []error{tooSmall, CodeBusy}, CodeBusy, []int{0, 900, 900, 1000}},
		{"did not grow", []any{900, 900}, []error{tooSmall}, CodeParameter, []int{0, 900, 900}},
		{"shrank", []any{900, 800}, []error{tooSmall}, CodeParameter, []int{0, 900, 900}},
		{"no second size", []any{900, errStub}, []error{tooSmall}, errStub, []int{0, 900, 900}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var calls []int
			sizes, quotes := tt.sizes, tt.quotes
			quoted, err := FitQuote(
				func(refused int) (int, error) {
					calls = append(calls, refused)
					answer := sizes[0]
					sizes = sizes[1:]
					if err, ok := answer.(error); ok {
						return 0, err
					}
					return answer.(int), nil
				},
				func(size int) (Quoted, error) {
					calls = append(calls, size)
					err := quotes[0]
					quotes = quotes[1:]
					if err != nil {
						return Quoted{}, err
					}
					return Quoted{Quote: make([]byte, size)}, nil
				})
			if !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
			if err == nil && len(quoted.Quote) != calls[len(calls)-1] {
				t.Errorf("got a quote of %d bytes", len(quoted.Quote))
			}
			if !slices.Equal(calls, tt.calls) {
				t.Errorf("got calls with %d, want %d", calls, tt.calls)
			}
		})
	}
}
