package aesm

import "sync"

// Sizes of buffers in bytes. The usual messages fit: a request of Intel's client has
// at most 1.7 KB, and a quote at most the 8192 bytes that Gramine has room for. Other
// messages get memory of their own.
const (
	requestBuffer = 4 << 10
	replyBuffer   = 9 << 10
)

// buffers is a pool of buffers of one size.
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

// put takes back a slice that get or sized has returned, at its full capacity, and
// drops any that is not of its size.
func (b *buffers) put(buffer []byte) {
	if cap(buffer) == b.size {
		buffer = buffer[:b.size]
		b.pool.Put(&buffer)
	}
}

// sized returns n bytes, with any content.
func (b *buffers) sized(n int) []byte {
	if n > b.size {
		return make([]byte, n)
	}
	return b.get()[:n]
}
