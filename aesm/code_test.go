package aesm

import (
	"strings"
	"testing"
)

// What to do is told apart for clients and operators.
func TestAdviceIsKeptApart(t *testing.T) {
	for code := CodeUnexpected; int64(code) < int64(len(codes)); code++ {
		client, operator := code.Advice(), code.OperatorAdvice()
		if (client == "") != (operator == "") {
			t.Errorf("%v: advice for one side only: %q, %q", code.String(), client, operator)
		}
		for _, own := range []string{"InitQuoteEx", "use ECDSA", "ask for the size"} {
			if strings.Contains(operator, own) {
				t.Errorf("%v: the operator is told what only a client can do: %q", code.String(), operator)
			}
		}
		for _, own := range []string{"PCCS", "BIOS", "/dev", "install"} {
			if strings.Contains(client, own) {
				t.Errorf("%v: the client is told what only the operator can do: %q", code.String(), client)
			}
		}
	}
	if got := Code(1000); got.Advice() != "" || got.OperatorAdvice() != "" {
		t.Error("advice on an unknown code")
	}
}
