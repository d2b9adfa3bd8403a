// Package certificates keeps the certification data of a platform, so that
// quotes do not depend on the network.
//
// Intel's quoting library asks its provider for the PCK certificates twice for
// each quote, and the provider may go to the network for them, without a
// time-out. A Cache stands in between: it asks the provider once, keeps the answer
// in a directory that the workers of a quote helper share, and refreshes it in the
// background. What is there is used for as long as there is nothing newer:
// certificates hold for years, and a quote with those of last week is worth more
// than none.
package certificates

import (
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

	"golang.org/x/sys/unix"
)

// ID says which platform, at which TCB: sgx_ql_pck_cert_id_t of
// sgx_ql_lib_common.h without the encrypted PPID.
type ID struct {
	QEID   [16]byte
	CPUSVN [16]byte
	PCESVN uint16
	PCEID  uint16
}

// Data is what the provider has for a platform: sgx_ql_config_t.
type Data struct {
	CPUSVN [16]byte // of the TCB that the PCK is for
	PCESVN uint16   // of that TCB
	Chain  []byte   // the PCK's chain as PEM text, with the end that the provider gave it
}

// Provider fetches the data of a platform. The encrypted PPID is empty where the
// library has not told it. It may take as long as it likes.
type Provider func(id ID, encryptedPPID []byte) (Data, error)

// Cache is a directory of data. Several processes can use it at once.
type Cache struct {
	// Dir is the directory, which must exist.
	Dir string
	// Namespace is what the data depends on besides the platform, such as the
	// configuration of the provider: another one has data of its own.
	Namespace string
	// RefreshAfter is the age at which data is asked for again.
	RefreshAfter time.Duration
	// Fetch is the provider. It is called by one goroutine at a time.
	Fetch Provider
	Log   *slog.Logger

	fetching sync.Mutex

	mu   sync.Mutex
	used map[ID][]byte // the encrypted PPID of those that were asked for
	read map[ID]file   // what was read last
}

// entry is the content of a file of the directory.
type entry struct {
	Fetched time.Time
	Data    Data
}

// file is an entry, and the file that it was read from.
type file struct {
	info  fs.FileInfo
	entry entry
}

// Get returns the data of a platform, from the directory if it is there.
// Otherwise it asks the provider, and waits for it, or for another process that
// asks already. Errors of the provider are returned as they are.
func (c *Cache) Get(id ID, encryptedPPID []byte) (Data, error) {
	ppid := c.use(id, encryptedPPID)
	if e, ok := c.load(id); ok {
		return e.Data, nil
	}
	c.fetching.Lock()
	defer c.fetching.Unlock()
	unlock, err := c.lock(unix.LOCK_EX)
	if err != nil {
		return Data{}, err
	}
	defer unlock()
	if e, ok := c.load(id); ok {
		return e.Data, nil // another one was quicker
	}
	return c.fetch(id, ppid)
}

// use notes that a platform is asked for. The library tells its encrypted PPID
// only at times; a service that has lost its own cache needs it.
func (c *Cache) use(id ID, encryptedPPID []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used == nil {
		c.used = make(map[ID][]byte)
	}
	if len(encryptedPPID) > 0 || c.used[id] == nil {
		c.used[id] = append([]byte{}, encryptedPPID...)
	}
	return c.used[id]
}

// fetch asks the provider and keeps the answer. Both locks are held.
func (c *Cache) fetch(id ID, encryptedPPID []byte) (Data, error) {
	start := time.Now()
	data, err := c.Fetch(id, encryptedPPID)
	if err != nil {
		return Data{}, err
	}
	c.Log.Info("got the platform's certificates from the provider", "bytes", len(data.Chain), "duration", time.Since(start))
	if err := c.store(id, entry{time.Now(), data}); err != nil {
		c.Log.Warn("the platform's certificates could not be kept: every worker asks the provider for itself", "directory", c.Dir, "error", err)
	}
	return data, nil
}

// The times between two looks at the age of what is there, and between two
// attempts to refresh it that fail.
const (
	lookInterval  = time.Minute
	retryInterval = 10 * time.Minute
)

// Run refreshes what was asked for, until ctx is done.
func (c *Cache) Run(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
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
				c.Log.Warn("the platform's certificates could not be refreshed: quotes go on with those that are there", "error", err, "next", retryInterval)
				notBefore = now.Add(retryInterval)
			}
		}
	}
}

// refresh asks the provider for all data that is old and was used here, unless
// another process does.
func (c *Cache) refresh() error {
	var errs []error
	for id, ppid := range c.ids() {
		if !c.old(id) {
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
	if !c.old(id) {
		return nil
	}
	_, err = c.fetch(id, ppid)
	return err
}

// ids are those that were asked for, with their encrypted PPIDs.
func (c *Cache) ids() map[ID][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make(map[ID][]byte, len(c.used))
	for id, ppid := range c.used {
		ids[id] = ppid
	}
	return ids
}

func (c *Cache) old(id ID) bool {
	e, ok := c.load(id)
	return !ok || time.Since(e.Fetched) >= c.RefreshAfter
}

// load returns what a file has, which is read only when it is another one than
// before. One that cannot be read is as good as none.
func (c *Cache) load(id ID) (e entry, ok bool) {
	path := c.path(id)
	info, err := os.Stat(path)
	if err != nil {
		return entry{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.read[id]; ok && os.SameFile(last.info, info) && last.info.ModTime().Equal(info.ModTime()) {
		return last.entry, true
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if err == nil && len(e.Data.Chain) == 0 {
		err = errors.New("there are none in the file")
	}
	if err != nil {
		c.Log.Warn("the platform's certificates that were kept cannot be read: the provider is asked again", "file", path, "error", err)
		return entry{}, false
	}
	if c.read == nil {
		c.read = make(map[ID]file)
	}
	c.read[id] = file{info, e}
	return e, true
}

// store writes a file, so that a reader sees all of it or the one before.
func (c *Cache) store(id ID, e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(c.Dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(text)
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), c.path(id))
}

// LastFetched is when the newest data of a directory was fetched; zero where there
// is none.
func LastFetched(dir string) (last time.Time) {
	names, _ := filepath.Glob(filepath.Join(dir, "pck-*.json"))
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// path is where the data of a platform is.
func (c *Cache) path(id ID) string {
	h := sha256.New()
	fmt.Fprintln(h, c.Namespace)
	_ = binary.Write(h, binary.LittleEndian, id) // of fixed size
	return filepath.Join(c.Dir, "pck-"+hex.EncodeToString(h.Sum(nil)[:16])+".json")
}

// lock takes the lock of the directory for this process. It ends with the process,
// too.
func (c *Cache) lock(how int) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(c.Dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the directory of the certificates: %w", err)
	}
	for {
		err = unix.Flock(int(file.Fd()), how)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the directory of the certificates: %w", err)
	}
	return func() { file.Close() }, nil
}
