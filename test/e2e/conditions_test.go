package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// quotesCondition returns status and reason of the node's condition about quotes.
func quotesCondition(t testing.TB) string {
	t.Helper()
	const at = `.status.conditions[?(@.type=="SGXQuotesAvailable")]`
	return kubectl(t, "get", "node", nodeName(t), "-o", "jsonpath={"+at+".status} {"+at+".reason}")
}

// TestQuotesCondition checks that the node reports when it has no quote helper, and when it
// has one again.
func TestQuotesCondition(t *testing.T) {
	eventually(t, "quotes are available", func() bool { return quotesCondition(t) == "True SocketAnswers" })
	const origin = ". Last quotes: backend simulated, MRENCLAVE "
	message := func() string {
		return kubectl(t, "get", "node", nodeName(t), "-o", `jsonpath={.status.conditions[?(@.type=="SGXQuotesAvailable")].message}`)
	}
	if got := message(); !strings.Contains(got, origin) || !strings.Contains(got, ", PCE SVN ") {
		t.Errorf("the message is %q", got)
	}
	patch := func(selector string) {
		kubectl(t, "-n", namespace, "patch", "daemonset", helper, "--type=merge", "--patch", `{"spec": {"template": {"spec": {"nodeSelector": {"nowhere": `+selector+`}}}}}`)
	}
	t.Cleanup(func() { patch("null"); waitRollout(t, helper) })
	patch(`"yes"`)
	eventually(t, "no helper is reported", func() bool { return quotesCondition(t) == "False NoQuoteHelper" })
	if got := message(); !strings.Contains(got, origin) {
		t.Errorf("without a helper, the message is %q", got)
	}
	patch("null")
	eventually(t, "quotes are available again", func() bool { return quotesCondition(t) == "True SocketAnswers" })
	// The new helper has had no other clients than those that check it.
	if m := metrics(t, helper); m[`sgx_quote_helper_probes_total{code="SUCCESS",request="InitQuoteEx"}`] == 0 || m[`sgx_quote_helper_requests_total{code="SUCCESS",request="InitQuoteEx"}`] != 0 {
		t.Errorf("checks do not count as such: %v", m)
	}
	events := kubectl(t, "-n", "default", "get", "events", "--field-selector=involvedObject.kind=Node,reason=NoQuoteHelper", "-o", "jsonpath={.items[*].type}")
	if !strings.Contains(events, "Warning") {
		t.Errorf("no event about the missing helper: %q", events)
	}
}

// TestTop checks that confcom top shows a pod that gets quotes.
func TestTop(t *testing.T) {
	startClients(t, 1)
	out, err := exec.Command("../../bin/confcom", "top", "--once", "--interval=3s", "--output=json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var top struct {
		Nodes []struct {
			AllocatableMiB, RequestedMiB int64
			QuotesPerSecond              float64
			Quotes                       struct{ Available bool }
		}
		Pods []struct {
			Namespace, Name string
			RequestedMiB    int64
			QuotesPerSecond float64
		}
		Notes []string
	}
	if err := json.Unmarshal(out, &top); err != nil {
		t.Fatal(err)
	}
	if len(top.Nodes) != 1 || top.Nodes[0].AllocatableMiB != 64 || !top.Nodes[0].Quotes.Available || top.Nodes[0].QuotesPerSecond == 0 || len(top.Notes) > 0 {
		t.Errorf("node: %s", out)
	}
	if len(top.Pods) == 0 || top.Pods[0].QuotesPerSecond == 0 || top.Pods[0].RequestedMiB == 0 {
		t.Errorf("pods: %s", out)
	}
}
