// Package certificates keeps the certification data of a platform, so that quotes
// do not depend on the network.
//
// Intel's quoting library asks its provider for the PCK certificates twice for
// each quote, and the provider may fetch them over the network, without a timeout.
// A Cache sits in between: it asks the provider once, keeps the answer in a
// directory that the workers of a quote helper share, and refreshes it in the
// background. Old data is used for as long as there is nothing newer: certificates
// are valid for years, and a quote with last week's is better than none.
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

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
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
	// Dir is the directory, which must exist.
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

	mu   sync.Mutex
	used map[ID][]byte // the encrypted PPIDs of the platforms that were asked for
	read map[ID]file   // the files that were read last
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
}

// Get returns the data of a platform, from the directory if it is there. Otherwise it
// asks the provider and waits for it, or for another process that is asking already.
// It returns errors of the provider unchanged.
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
		return e.Data, nil // another caller was faster
	}
	return c.fetch(id, ppid)
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

// isOld reports whether the data of a platform is missing or old.
func (c *Cache) isOld(id ID) bool {
	e, ok := c.load(id)
	return !ok || time.Since(e.Fetched) >= c.RefreshAfter
}

// load returns the data of a platform from its file, which it reads only if it has
// changed. A file that cannot be read counts as missing.
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
		err = errors.New("the file has no certificates")
	}
	if err != nil {
		// The provider is asked again.
		c.Log.Warn("read platform certificates failed", "file", path, "error", err)
		return entry{}, false
	}
	if c.read == nil {
		c.read = make(map[ID]file)
	}
	c.read[id] = file{info, e}
	return e, true
}

// store writes the file for a platform, atomically.
func (c *Cache) store(id ID, e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return renameio.WriteFile(c.path(id), text, 0o600, renameio.WithTempDir(c.Dir), renameio.WithStaticPermissions(0o600))
}

// LastFetched returns when the newest data of a directory was fetched; the zero time
// if there is none.
func LastFetched(dir string) (last time.Time) {
	names, _ := filepath.Glob(filepath.Join(dir, "pck-*.json"))
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// path returns the path of the file for a platform.
func (c *Cache) path(id ID) string {
	h := sha256.New()
	fmt.Fprintln(h, c.Namespace)
	_ = binary.Write(h, binary.LittleEndian, id) // of fixed size
	return filepath.Join(c.Dir, "pck-"+hex.EncodeToString(h.Sum(nil)[:16])+".json")
}

// lock locks the directory for this process. The kernel releases the lock when the
// process ends.
func (c *Cache) lock(how int) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(c.Dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
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
