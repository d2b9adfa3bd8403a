package aesm

import "sync"

// The sizes of buffers in bytes. All that is usual fits: a request of Intel's
// client has 1.7 KB at most, and a quote has the 8192 that Gramine has room for,
// or less. What does not fit gets memory of its own.
const (
	requestBuffer = 4 << 10
	replyBuffer   = 9 << 10
)

// buffers are memory of one size that serves one exchange after another.
type buffers struct {
	size int
	pool sync.Pool // of *[]byte
}

func (b *buffers) get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, b.size)
}

// put takes back what get has returned, or any slice of it, and forgets memory
// that is not its own.
func (b *buffers) put(buffer []byte) {
	if cap(buffer) == b.size {
		buffer = buffer[:b.size]
		b.pool.Put(&buffer)
	}
}

// sized returns n bytes, of any content.
func (b *buffers) sized(n int) []byte {
	if n > b.size {
		return make([]byte, n)
	}
	return b.get()[:n]
}
