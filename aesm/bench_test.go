package aesm

import "testing"

// BenchmarkGetQuote measures the cost of the protocol for a quote of usual size:
// connect, request, reply and close, without any quoting.
func BenchmarkGetQuote(b *testing.B) {
	h := newStub()
	h.quote = fakeQuote(4734)
	path, seen := start(b, &Server{Handler: h})
	client := &Client{Socket: path}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.GetQuote(b.Context(), IntelQE3KeyID(), testReport(), 4734, nil); err != nil {
				b.Error(err)
			}
			<-seen
		}
	})
}
