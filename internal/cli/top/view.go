package top

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// view is what is shown, which is also the JSON output. What is not known is null.
type view struct {
	Time  time.Time  `json:"time"`
	Nodes []nodeView `json:"nodes"`
	Pods  []podView  `json:"pods"`
	// ErrorsPerSecond is by layer, of all nodes.
	ErrorsPerSecond map[string]float64 `json:"errorsPerSecond"`
	// Notes say why something is not known.
	Notes []string `json:"notes"`
}

type nodeView struct {
	Name           string `json:"name"`
	CapacityMiB    int64  `json:"capacityMiB"`
	AllocatableMiB int64  `json:"allocatableMiB"`
	RequestedMiB   int64  `json:"requestedMiB"`
	// MappedMiB is how much enclave memory all processes of the node map.
	MappedMiB *float64 `json:"mappedMiB"`
	// EPC is the reason of the node's condition SGXEPCAvailable; empty without it.
	EPC    string     `json:"epc"`
	Quotes quotesView `json:"quotes"`

	QuotesPerSecond *float64           `json:"quotesPerSecond"`
	ErrorsPerSecond map[string]float64 `json:"errorsPerSecond"`
	Waiting         *float64           `json:"waiting"`     // requests in the queue
	InService       *float64           `json:"inService"`   // requests in the quote backend
	Concurrency     *float64           `json:"concurrency"` // how many that can be
	Workers         *float64           `json:"workers"`     // that can quote; only with platform dcap
}

// quotesView is whether clients on a node can get quotes.
type quotesView struct {
	Available *bool  `json:"available"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
}

type podView struct {
	Namespace       string   `json:"namespace"`
	Name            string   `json:"name"`
	Node            string   `json:"node"`
	Phase           string   `json:"phase"`
	RequestedMiB    int64    `json:"requestedMiB"`
	MappedMiB       *float64 `json:"mappedMiB"` // enclave memory of its processes
	QuotesPerSecond *float64 `json:"quotesPerSecond"`
	ErrorsPerSecond *float64 `json:"errorsPerSecond"`
}

// newView puts together what the API server and the daemons returned.
func newView(s *state, d *daemons) view {
	v := view{Time: time.Now().UTC(), Nodes: []nodeView{}, Pods: []podView{}, Notes: []string{}}
	helpers, plugins := make(map[string][]poll), make(map[string][]poll) // by node: two during an update
	for _, p := range d.last {
		if p.err != nil {
			v.Notes = append(v.Notes, fmt.Sprintf("no metrics of %s on node %s: %v", p.daemon.name, p.daemon.node, p.err))
		}
		switch p.daemon.kind {
		case "sgx-quote-helper":
			helpers[p.daemon.node] = append(helpers[p.daemon.node], p)
		case "sgx-device-plugin":
			plugins[p.daemon.node] = append(plugins[p.daemon.node], p)
		}
	}
	if len(s.daemons) == 0 {
		v.Notes = append(v.Notes, fmt.Sprintf("no running pod of confcom in the namespace %s: if it is installed elsewhere, pass --namespace", d.namespace))
	}
	requested := make(map[string]int64) // by node
	for _, p := range s.pods {
		requested[p.node] += p.epc
	}
	daemonsOn := make(map[string]bool)
	for _, of := range s.daemons {
		daemonsOn[of.node] = true
	}
	for _, n := range s.nodes {
		if !n.hasEPC && !daemonsOn[n.name] {
			continue
		}
		of := newNodeView(n, requested[n.name], helpers[n.name])
		of.MappedMiB = mapped(plugins[n.name], "sgx_enclave_memory_mapped_bytes", nil)
		v.Nodes = append(v.Nodes, of)
	}
	v.addPods(s, helpers, plugins)
	for _, n := range v.Nodes {
		v.ErrorsPerSecond = added(v.ErrorsPerSecond, n.ErrorsPerSecond)
	}
	slices.SortFunc(v.Nodes, func(a, b nodeView) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(v.Notes)
	return v
}

// newNodeView describes a node with the polls of its quote helpers.
func newNodeView(n node, requested int64, helpers []poll) nodeView {
	v := nodeView{
		Name: n.name, CapacityMiB: n.capacity, AllocatableMiB: n.available, RequestedMiB: requested, EPC: n.epc.reason,
		Quotes: quotesView{Reason: n.quotes.reason, Message: n.quotes.message},
	}
	if n.quotes.status == "True" || n.quotes.status == "False" {
		available := n.quotes.status == "True"
		v.Quotes.Available = &available
	}
	for _, p := range helpers {
		rates := p.rates("sgx_quote_helper_requests_total", "code", func(labels map[string]string) bool {
			return labels["code"] == "SUCCESS" && (labels["request"] == "GetQuoteEx" || labels["request"] == "GetQuote")
		})
		if rates != nil {
			v.QuotesPerSecond = plus(v.QuotesPerSecond, rates["SUCCESS"])
		}
		v.ErrorsPerSecond = added(v.ErrorsPerSecond, p.rates("sgx_quote_helper_failures_total", "layer", nil))
		for name, to := range map[string]**float64{
			"sgx_quote_helper_requests_waiting":   &v.Waiting,
			"sgx_quote_helper_requests_in_flight": &v.InService,
			"sgx_quote_helper_platform_slots":     &v.Concurrency,
			"sgx_quote_helper_workers":            &v.Workers,
		} {
			if value, found := p.now.value(name, nil); found {
				*to = plus(*to, value)
			}
		}
		// A node without the condition, such as one of Kubernetes 1.35.
		if met, found := p.now.value("confcom_condition_met", map[string]string{"condition": "quotes"}); found && n.quotes == (condition{}) {
			available := met == 1 || v.Quotes.Available != nil && *v.Quotes.Available
			v.Quotes.Available = &available
		}
	}
	return v
}

// mapped returns how many MiB of enclave memory are mapped according to a metric of the device
// plugins of a node, which all see the same; nil if none has the metric.
func mapped(plugins []poll, name string, labels map[string]string) (mib *float64) {
	for _, p := range plugins {
		if bytes, found := p.now.value(name, labels); found {
			most := max(known(mib), bytes/(1<<20))
			mib = &most
		}
	}
	return mib
}

// addPods adds the pods that have EPC, got quotes or map enclave memory, the busiest first.
// Confcom's own are left out, which connect to the socket to check it.
func (v *view) addPods(s *state, helpers, plugins map[string][]poll) {
	own := make(map[string]bool) // by UID
	for _, of := range s.daemons {
		own[of.uid] = true
	}
	for _, p := range s.pods {
		of := podView{Namespace: p.namespace, Name: p.name, Node: p.node, Phase: p.phase, RequestedMiB: p.epc}
		seen := false // whether the helper knows the pod
		for _, helper := range helpers[p.node] {
			isOf := func(labels map[string]string) bool { return labels["uid"] == p.uid }
			if quotes := helper.rates("sgx_quote_helper_pod_quotes_total", "uid", isOf); quotes != nil {
				of.QuotesPerSecond = plus(of.QuotesPerSecond, quotes[p.uid])
				_, found := quotes[p.uid]
				seen = seen || found
			}
			if errors := helper.rates("sgx_quote_helper_pod_errors_total", "uid", isOf); errors != nil {
				of.ErrorsPerSecond = plus(of.ErrorsPerSecond, errors[p.uid])
			}
		}
		of.MappedMiB = mapped(plugins[p.node], "sgx_enclave_memory_pod_mapped_bytes", map[string]string{"uid": p.uid})
		if of.MappedMiB == nil && mapped(plugins[p.node], "sgx_enclave_memory_mapped_bytes", nil) != nil {
			of.MappedMiB = new(float64) // pods that map nothing have no series
		}
		if p.epc > 0 || (seen || known(of.MappedMiB) > 0) && !own[p.uid] {
			v.Pods = append(v.Pods, of)
		}
	}
	slices.SortFunc(v.Pods, func(a, b podView) int {
		return cmp.Or(
			cmp.Compare(known(b.QuotesPerSecond), known(a.QuotesPerSecond)),
			cmp.Compare(known(b.ErrorsPerSecond), known(a.ErrorsPerSecond)),
			cmp.Compare(b.RequestedMiB, a.RequestedMiB),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// plus returns the sum of what is known and more.
func plus(sum *float64, more float64) *float64 {
	total := known(sum) + more
	return &total
}

// known returns the value of n, 0 if it is not known.
func known(n *float64) float64 {
	if n == nil {
		return 0
	}
	return *n
}

// added returns sums with more added to them; nil if nothing is known.
func added(sums, more map[string]float64) map[string]float64 {
	if more == nil {
		return sums
	}
	if sums == nil {
		sums = make(map[string]float64)
	}
	for key, value := range more {
		sums[key] += value
	}
	return sums
}
