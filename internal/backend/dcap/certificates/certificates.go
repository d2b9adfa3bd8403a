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
// A failure is remembered for a short time, in which the provider is not asked again:
// otherwise each quote would wait for a service that is down, one after the other.
package certificates

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/internal/cachedir"
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

// Provider fetches the data of a platform. The encrypted PPID is empty if the library
// does not give it. It may block for any time.
type Provider func(id ID, encryptedPPID []byte) (Data, error)

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
	Log   *slog.Logger

	fetching sync.Mutex

	mu     sync.Mutex
	used   map[ID][]byte   // the encrypted PPIDs of the platforms that were asked for
	read   map[ID]file     // the files that were read last
	failed map[ID]*failure // of the provider
}

// A process asks for the data of one platform, at the one or two TCBs that it has.
const maxPlatforms = 16

// failure is an error of the provider, and when to ask it again.
type failure struct {
	err    error
	ppid   []byte // with which it was asked: with another one it may know the platform
	until  time.Time
	pauses backoff.ExponentialBackOff
}

// entry is the content of a file of the directory.
type entry struct {
	Fetched time.Time
	Data    Data
}

// file is an entry and the file that it was read from.
type file struct {
	info  fs.FileInfo
	entry entry
	bad   bool // it could not be read
}

// Get returns the data of a platform, from the directory if it is there. Otherwise it
// asks the provider and waits for it, or for another process that is asking already.
// It returns errors of the provider unchanged, the last one for a while.
func (c *Cache) Get(id ID, encryptedPPID []byte) (Data, error) {
	ppid := c.use(id, encryptedPPID)
	if e, ok := c.load(id); ok {
		return e.Data, nil
	}
	c.fetching.Lock()
	defer c.fetching.Unlock()
	if err := c.failure(id, ppid); err != nil {
		return Data{}, err
	}
	unlock, err := c.lock(unix.LOCK_EX)
	if err != nil {
		return Data{}, err
	}
	defer unlock()
	if e, ok := c.load(id); ok {
		return e.Data, nil // another caller was faster
	}
	return c.fetch(id, ppid)
}

// failure returns the error of the provider if it failed a short time ago.
func (c *Cache) failure(id ID, ppid []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.failed[id]; f != nil && time.Now().Before(f.until) && bytes.Equal(f.ppid, ppid) {
		return f.err
	}
	return nil
}

// note remembers the outcome of asking the provider.
func (c *Cache) note(id ID, ppid []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.failed, id)
		return
	}
	f := c.failed[id]
	if f == nil {
		// From 1 to 30 seconds: a service that is back is noticed before clients give up.
		f = &failure{pauses: backoff.ExponentialBackOff{InitialInterval: time.Second, Multiplier: 2, MaxInterval: 30 * time.Second}}
		if c.failed == nil {
			c.failed = make(map[ID]*failure)
		}
		makeRoom(c.failed)
		c.failed[id] = f
	}
	f.err, f.ppid, f.until = err, ppid, time.Now().Add(f.pauses.NextBackOff())
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

// use notes that a platform is asked for, and returns its encrypted PPID. The library
// gives it only in some calls; a service that has lost its own cache needs it.
func (c *Cache) use(id ID, encryptedPPID []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used == nil {
		c.used = make(map[ID][]byte)
	}
	if len(encryptedPPID) > 0 || c.used[id] == nil {
		if c.used[id] == nil {
			makeRoom(c.used)
		}
		c.used[id] = append([]byte{}, encryptedPPID...)
	}
	return c.used[id]
}

// fetch asks the provider and keeps the answer. Both locks are held.
func (c *Cache) fetch(id ID, encryptedPPID []byte) (Data, error) {
	start := time.Now()
	data, err := c.Fetch(id, encryptedPPID)
	if err == nil && len(data.Chain) == 0 {
		err = errors.New("the provider returned no certificates")
	}
	if c.note(id, encryptedPPID, err); err != nil {
		return Data{}, err
	}
	c.Log.Info("fetched platform certificates", "bytes", len(data.Chain), "duration", time.Since(start))
	if err := c.store(id, entry{time.Now(), data}); err != nil {
		// Each worker then asks the provider itself.
		c.Log.Warn("store platform certificates failed", "directory", c.Dir, "error", err)
	}
	return data, nil
}

const (
	// pollInterval is the time between two checks of the age of the data.
	pollInterval = time.Minute
	// retryInterval is the pause after a refresh that failed.
	retryInterval = 10 * time.Minute
)

// Run refreshes the data that was asked for, until ctx is done.
func (c *Cache) Run(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var notBefore time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if now.Before(notBefore) {
				continue
			}
			if err := c.refresh(); err != nil {
				// Quotes go on with the data that is there.
				c.Log.Warn("refresh platform certificates failed", "error", err, "next", retryInterval)
				notBefore = now.Add(retryInterval)
			}
		}
	}
}

// refresh fetches all data that is old and was used by this process, unless another
// process is doing so.
func (c *Cache) refresh() error {
	var errs []error
	for id, ppid := range c.ids() {
		if !c.isOld(id) {
			continue
		}
		errs = append(errs, c.refreshOne(id, ppid))
	}
	return errors.Join(errs...)
}

func (c *Cache) refreshOne(id ID, ppid []byte) error {
	c.fetching.Lock()
	defer c.fetching.Unlock()
	unlock, err := c.lock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if !c.isOld(id) {
		return nil
	}
	_, err = c.fetch(id, ppid)
	return err
}

// ids returns the platforms that were asked for, with their encrypted PPIDs.
func (c *Cache) ids() map[ID][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make(map[ID][]byte, len(c.used))
	for id, ppid := range c.used {
		ids[id] = ppid
	}
	return ids
}

// isOld reports whether the data of a platform is missing or old. Data from the future is
// old as well: the clock was wrong then, or is now.
func (c *Cache) isOld(id ID) bool {
	e, ok := c.load(id)
	age := time.Since(e.Fetched)
	return !ok || age >= c.RefreshAfter || age < 0
}

// maxFile is larger than any file of the directory: a chain has some KB.
const maxFile = 256 << 10

// load returns the data of a platform from its file, which it reads only if it has
// changed. A file that cannot be read, or is none of this user's, counts as missing.
func (c *Cache) load(id ID) (e entry, ok bool) {
	name := c.file(id)
	info, err := os.Lstat(filepath.Join(c.Dir, name))
	if err != nil {
		return entry{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.read[id]; ok && os.SameFile(last.info, info) && last.info.ModTime().Equal(info.ModTime()) {
		return last.entry, !last.bad
	}
	read, err := c.readFile(name)
	if err != nil {
		// The provider is asked again.
		c.Log.Warn("read platform certificates failed", "file", filepath.Join(c.Dir, name), "error", err)
		read = file{info: info, bad: true}
	}
	if c.read == nil {
		c.read = make(map[ID]file)
	}
	makeRoom(c.read)
	c.read[id] = read
	return read.entry, !read.bad
}

func (c *Cache) readFile(name string) (file, error) {
	dir, err := cachedir.Open(c.Dir)
	if err != nil {
		return file{}, err
	}
	defer dir.Close()
	text, info, err := dir.Read(name, maxFile)
	if err != nil {
		return file{}, err
	}
	read := file{info: info}
	if err := json.Unmarshal(text, &read.entry); err != nil {
		return file{}, err
	}
	if len(read.entry.Data.Chain) == 0 {
		return file{}, errors.New("the file has no certificates")
	}
	return read, nil
}

// store writes the file for a platform, atomically.
func (c *Cache) store(id ID, e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if len(text) > maxFile {
		return fmt.Errorf("the certificates take %d bytes, want at most %d", len(text), maxFile)
	}
	dir, err := cachedir.Open(c.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Write(c.file(id), text)
}

// LastFetched returns when the newest data of a directory was fetched; the zero time
// if there is none. It ignores files from the future.
func LastFetched(dir string) (last time.Time) {
	names, _ := filepath.Glob(filepath.Join(dir, "pck-*.json"))
	now := time.Now()
	for _, name := range names {
		info, err := os.Lstat(name)
		if err == nil && info.Mode().IsRegular() && info.ModTime().After(last) && !info.ModTime().After(now) {
			last = info.ModTime()
		}
	}
	return last
}

// file returns the name of the file for a platform.
func (c *Cache) file(id ID) string {
	h := sha256.New()
	fmt.Fprintln(h, c.Namespace)
	_ = binary.Write(h, binary.LittleEndian, id) // of fixed size
	return "pck-" + hex.EncodeToString(h.Sum(nil)[:16]) + ".json"
}

// lock locks the directory for this process. The kernel releases the lock when the
// process ends.
func (c *Cache) lock(how int) (unlock func(), err error) {
	dir, err := cachedir.Open(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("lock directory of platform certificates: %w", err)
	}
	defer dir.Close()
	file, err := dir.Lockfile(".lock")
	if err != nil {
		return nil, fmt.Errorf("lock directory of platform certificates: %w", err)
	}
	for {
		err = unix.Flock(int(file.Fd()), how)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock directory of platform certificates: %w", err)
	}
	return func() { file.Close() }, nil
}
