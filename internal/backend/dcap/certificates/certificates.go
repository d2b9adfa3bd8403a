// Package certificates keeps the certification data of a platform, so that quotes
// do not depend on the network.
//
// Intel's quoting library asks its provider for the PCK certificates twice for
// each quote, and the provider may fetch them over the network, without a timeout.
// A Cache sits in between: it asks the provider once, keeps the answer in a
// directory that the workers of a quote helper share, and refreshes it in the
// background. Old data is used for as long as there is nothing newer: certificates
// are valid for years, and a quote with last week's is better than none.
//
// A provider may return useless data and report success. Kept, it would end all
// quotes until it is old. So an answer is checked first (Data.Check), and kept only
// once the quoting library has initialized its key with it: until then it is on
// trial, in the memory of one process. An answer that the library refuses is
// dropped. Kept data that the library refuses stays as the last resort.
//
// A failure is remembered for a short time, in which the provider is not asked again,
// by no process: otherwise each quote would wait for a service that is down, one after
// the other. It is remembered in the directory, as processes that get no certificates
// end.
package certificates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// ID identifies a platform and its TCB: sgx_ql_pck_cert_id_t of sgx_ql_lib_common.h
// without the encrypted PPID.
type ID struct {
	QEID   [16]byte
	CPUSVN [16]byte
	PCESVN uint16
	PCEID  uint16
}

// Data is the provider's data for a platform: sgx_ql_config_t.
type Data struct {
	CPUSVN [16]byte // of the TCB that the PCK certificate is for
	PCESVN uint16   // of the same TCB
	Chain  []byte   // the PCK certificate chain in PEM, ending as the provider ends it
}

func (d Data) equal(other Data) bool {
	return d.CPUSVN == other.CPUSVN && d.PCESVN == other.PCESVN && bytes.Equal(d.Chain, other.Chain)
}

// Query is what a provider is asked.
type Query struct {
	ID            ID
	EncryptedPPID []byte // empty if the library did not give it
	// Fresh asks for an answer of the service: the provider must not use what it has
	// kept itself, as that was useless.
	Fresh bool
}

// Source is where a provider has its answer from.
type Source string

// The sources.
const (
	Network       Source = "network"
	ProviderCache Source = "provider cache" // what the provider library itself has kept
	Unknown       Source = "unknown"        // the library does not log it
)

// Answer is the answer of a provider.
type Answer struct {
	Data   Data
	Source Source
}

// Provider fetches the data of a platform. It returns when ctx is done. Its errors
// that are a quote3.Error reach the quoting library as such.
type Provider func(ctx context.Context, q Query) (Answer, error)

// UselessError is the error of a provider that has returned something, or has
// crashed: it may do so again for as long as it uses what it has kept itself.
type UselessError struct{ Err error }

func (e *UselessError) Error() string { return e.Err.Error() }

// Unwrap returns the cause, and the code for the quoting library and clients.
func (e *UselessError) Unwrap() []error { return []error{e.Err, quote3.MessageParsingError} }

// Cache is a directory of data. Several processes can use it at the same time.
type Cache struct {
	// Dir is the directory, which must exist. Only this user and root may be able to write
	// to it, see package cachedir.
	Dir string
	// Namespace is what the data depends on besides the platform, such as the
	// configuration of the provider. Each namespace has its own data.
	Namespace string
	// RefreshAfter is the age at which data is fetched again.
	RefreshAfter time.Duration
	// Fetch is the provider. It is called by one goroutine at a time.
	Fetch Provider
	// Prove has the library initialize its key, which calls Get. The Cache calls it after
	// a refresh that has brought other data, while the library is not used otherwise.
	Prove func() error
	Log   *slog.Logger

	using sync.Mutex // held while the library is used
	use   *use       // while it is
	// proven is whether the library has initialized its key in this process.
	proven bool

	fetching sync.Mutex // held with the lock of the directory; taken after using

	mu    sync.Mutex
	asked map[ID][]byte // the encrypted PPIDs of the platforms that were asked for
	read  map[ID]file   // the files that were read last
	// unsaved is data that could not be stored, for this process.
	unsaved map[ID]entry
}

// A process asks for the data of one platform, at the one or two TCBs that it has.
const maxPlatforms = 16

// use is one use of the library, in which it may call Get.
type use struct {
	trials  map[ID]Answer // what it was given that is not kept
	kept    map[ID]entry  // what it was given that is
	failure error         // the last one of Get
	unlock  func()        // releases what is held until the answers are kept or dropped; nil if nothing is
}

// Initialize runs f, which has the library initialize its key and calls Get. If it
// succeeds, the data that Get has returned is kept. If the library refuses the data,
// it is dropped. The error is that of f, or that of the provider if it is the cause.
func (c *Cache) Initialize(f func() error) error {
	return c.run(f, refusals(true))
}

// Quote is Initialize for an f that has the library make a quote. Where the key must be
// initialized again, it says nothing about the data.
func (c *Cache) Quote(f func() error) error {
	return c.run(f, refusals(false))
}

// refusals returns the codes by which the library refuses data.
func refusals(initializing bool) []quote3.Error {
	codes := []quote3.Error{quote3.AttKeyCertDataInvalid, quote3.KeyCertificationError}
	if initializing {
		codes = append(codes, quote3.AttKeyNotInitialized, quote3.NoPlatformCertData)
	}
	return codes
}

func (c *Cache) run(f func() error, refusals []quote3.Error) error {
	c.using.Lock()
	defer c.using.Unlock()
	return c.runWith(nil, f, refusals)
}

// runWith runs f, with answers that are on trial already, and draws the consequences
// for the data that it was given. The mutex using is held.
func (c *Cache) runWith(trials map[ID]Answer, f func() error, refusals []quote3.Error) error {
	u := &use{trials: make(map[ID]Answer), kept: make(map[ID]entry)}
	maps.Copy(u.trials, trials)
	c.use = u
	defer func() {
		c.use = nil
		if u.unlock != nil {
			u.unlock()
		}
	}()
	err := f()
	code, isCode := errors.AsType[quote3.Error](err)
	switch {
	case err == nil:
		c.accept(u)
	case u.failure != nil:
		// The library knows only the code of it.
		return u.failure
	case isCode && slices.Contains(refusals, code):
		c.refuse(u, err)
		return fmt.Errorf("the platform certificates were refused: %w", err)
	}
	return err
}

// accept keeps what the library has accepted.
func (c *Cache) accept(u *use) {
	c.proven = true
	for id, answer := range u.trials {
		c.keep(id, answer)
	}
	for id, e := range u.kept {
		if e.Refused {
			e.Refused = false
			c.save(id, e)
		}
	}
}

// refuse drops what the library has refused.
func (c *Cache) refuse(u *use, err error) {
	for id := range u.trials {
		c.fail(id, c.ppid(id), &UselessError{err})
	}
	for id, e := range u.kept {
		if now, ok := c.load(id); ok && !now.Refused && now.Data.equal(e.Data) {
			c.Log.Warn("platform certificates that are kept were refused", "error", err, "fetched", e.Fetched)
			e.Refused = true
			c.save(id, e)
		}
	}
}

// errNoUse is a mistake in the calling program.
var errNoUse = errors.New("certificates were asked for outside of Initialize and Quote")

// Get returns the data of a platform, from the directory if it is there. Otherwise it
// asks the provider and waits for it, or for another process that is asking already.
// It returns errors of the provider unchanged, the last one for a while. The function
// that Initialize or Quote runs calls it, one call after the other.
func (c *Cache) Get(id ID, encryptedPPID []byte) (Data, error) {
	u := c.use
	if u == nil {
		return Data{}, errNoUse
	}
	ppid := c.ask(id, encryptedPPID)
	if answer, ok := u.trials[id]; ok {
		return answer.Data, nil
	}
	e, kept := c.load(id)
	// A process that works does not wait for the provider: it is refreshed by Run.
	if kept && (!e.Refused || c.proven) {
		u.kept[id] = e
		return e.Data, nil
	}
	data, err := c.getNew(u, id, ppid)
	if err != nil && kept {
		u.kept[id] = e
		return e.Data, nil
	}
	if err != nil {
		u.failure = err
	}
	return data, err
}

// getNew asks the provider, unless another process is faster.
func (c *Cache) getNew(u *use, id ID, ppid []byte) (Data, error) {
	if err := c.failure(id, ppid); err != nil {
		return Data{}, err
	}
	if u.unlock == nil {
		unlock, err := c.lockAll(unix.LOCK_EX)
		if err != nil {
			return Data{}, err
		}
		u.unlock = unlock
	}
	if e, ok := c.load(id); ok && !e.Refused {
		u.kept[id] = e
		return e.Data, nil
	}
	if err := c.failure(id, ppid); err != nil {
		return Data{}, err
	}
	answer, err := c.fetch(context.Background(), id, ppid)
	if err != nil {
		return Data{}, err
	}
	u.trials[id] = answer
	return answer.Data, nil
}

// ask notes that a platform is asked for, and returns its encrypted PPID. The library
// gives it only in some calls; a service that has lost its own cache needs it.
func (c *Cache) ask(id ID, encryptedPPID []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil {
		c.asked = make(map[ID][]byte)
	}
	if len(encryptedPPID) > 0 || c.asked[id] == nil {
		if c.asked[id] == nil {
			makeRoom(c.asked)
		}
		c.asked[id] = append([]byte{}, encryptedPPID...)
	}
	return c.asked[id]
}

// ppid returns the encrypted PPID of a platform that was asked for.
func (c *Cache) ppid(id ID) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[id]
}

// makeRoom removes an arbitrary element from a map that is full.
func makeRoom[V any](m map[ID]V) {
	for id := range m {
		if len(m) < maxPlatforms {
			return
		}
		delete(m, id)
	}
}

// fetch asks the provider and checks the answer. Both locks are held.
func (c *Cache) fetch(ctx context.Context, id ID, encryptedPPID []byte) (Answer, error) {
	start := time.Now()
	query := Query{id, encryptedPPID, c.wasUseless(id)}
	c.remember(query)
	answer, err := c.Fetch(ctx, query)
	if err == nil {
		if problem := answer.Data.Check(); problem != nil {
			err = &UselessError{problem}
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			c.fail(id, encryptedPPID, err)
			c.Log.Warn("fetch platform certificates failed", "error", err, "duration", time.Since(start))
		}
		return Answer{}, err
	}
	c.Log.Info("fetched platform certificates", "bytes", len(answer.Data.Chain), "source", answer.Source, "duration", time.Since(start))
	return answer, nil
}
