package certificates

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/confcom/confcom/internal/cachedir"
)

// entry is the content of a file of the directory.
type entry struct {
	// Fetched is when the provider last returned the data, and FromNetwork when it last
	// said that the data came from the service.
	Fetched, FromNetwork time.Time
	// Refused is whether the library has refused the data since. It is used if there is
	// nothing else.
	Refused bool
	Data    Data
}

// file is an entry and the file that it was read from.
type file struct {
	info  fs.FileInfo
	entry entry
	bad   bool // it could not be read
}

// maxFile is larger than any file of the directory: a chain has some KB.
const maxFile = 256 << 10

// keep stores an answer that the library has accepted.
func (c *Cache) keep(id ID, answer Answer) {
	e := entry{Fetched: time.Now(), Data: answer.Data}
	switch last, _ := c.load(id); answer.Source {
	case Network:
		e.FromNetwork = e.Fetched
	default:
		e.FromNetwork = last.FromNetwork
	}
	c.save(id, e)
	c.forget(id)
}

// save stores an entry, or keeps it for this process if that fails.
func (c *Cache) save(id ID, e entry) {
	err := c.write(c.file(id), e)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.unsaved, id)
		return
	}
	// Each worker then asks the provider itself.
	c.Log.Warn("store platform certificates failed", "directory", c.Dir, "error", err)
	if c.unsaved == nil {
		c.unsaved = make(map[ID]entry)
	}
	makeRoom(c.unsaved)
	c.unsaved[id] = e
}

// load returns the data of a platform from its file, which it reads only if it has
// changed. A file that cannot be read, or is none of this user's, counts as missing.
func (c *Cache) load(id ID) (e entry, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.unsaved[id]; ok {
		return e, true
	}
	name := c.file(id)
	info, err := os.Lstat(filepath.Join(c.Dir, name))
	if err != nil {
		return entry{}, false
	}
	if last, ok := c.read[id]; ok && os.SameFile(last.info, info) && last.info.ModTime().Equal(info.ModTime()) {
		return last.entry, !last.bad
	}
	read, err := readFile(c.Dir, name)
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

func readFile(path, name string) (file, error) {
	dir, err := cachedir.Open(path)
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
	// A former version may have kept an answer that was useless.
	if err := read.entry.Data.Check(); err != nil {
		return file{}, err
	}
	return read, nil
}

// write writes a file of the directory, atomically.
func (c *Cache) write(name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if len(text) > maxFile {
		return fmt.Errorf("%s takes %d bytes, want at most %d", name, len(text), maxFile)
	}
	dir, err := cachedir.Open(c.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Write(name, text)
}

// The files of the directory begin with these.
const (
	dataPrefix    = "pck-"
	failurePrefix = "failure-"
	queryPrefix   = "query-"
)

// LastFetched returns when a provider last returned the data of a directory, and when
// it last said that the data came from the network; the zero time for never. It ignores
// times in the future.
func LastFetched(dir string) (fetched, fromNetwork time.Time) {
	names, _ := filepath.Glob(filepath.Join(dir, dataPrefix+"*.json"))
	now := time.Now()
	latest := func(last *time.Time, at time.Time) {
		if at.After(*last) && !at.After(now) {
			*last = at
		}
	}
	for _, name := range names {
		if read, err := readFile(dir, filepath.Base(name)); err == nil {
			latest(&fetched, read.entry.Fetched)
			latest(&fromNetwork, read.entry.FromNetwork)
		}
	}
	return fetched, fromNetwork
}

// maxQuery is larger than the file of a query.
const maxQuery = 16 << 10

// remember stores what the provider is asked, for LastQuery. What cannot be stored is not
// remembered.
func (c *Cache) remember(q Query) {
	if err := c.write(queryPrefix+strings.TrimPrefix(c.file(q.ID), dataPrefix), q); err != nil {
		c.Log.Warn("store the query for platform certificates failed", "directory", c.Dir, "error", err)
	}
}

func readQuery(path, name string) (q Query, err error) {
	dir, err := cachedir.Open(path)
	if err != nil {
		return Query{}, err
	}
	defer dir.Close()
	text, _, err := dir.Read(name, maxQuery)
	if err != nil {
		return Query{}, err
	}
	return q, json.Unmarshal(text, &q)
}

// LastQuery returns what a Cache in a directory has asked its provider last, if it is
// known: it identifies the platform of this machine.
func LastQuery(dir string) (q Query, known bool) {
	q, _, known = lastQuery(dir)
	return q, known
}

// LastKept returns the data that a Cache in a directory keeps for the platform of
// LastQuery, if there is any, and the library has not refused it since.
func LastKept(dir string) (d Data, kept bool) {
	_, name, known := lastQuery(dir)
	if !known {
		return Data{}, false
	}
	read, err := readFile(dir, dataPrefix+strings.TrimPrefix(name, queryPrefix))
	if err != nil || read.entry.Refused {
		return Data{}, false
	}
	return read.entry.Data, true
}

// lastQuery is LastQuery with the name of the file.
func lastQuery(dir string) (q Query, file string, known bool) {
	names, _ := filepath.Glob(filepath.Join(dir, queryPrefix+"*.json"))
	var newest time.Time
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil || known && !info.ModTime().After(newest) {
			continue
		}
		if read, err := readQuery(dir, filepath.Base(name)); err == nil {
			q, file, known, newest = read, filepath.Base(name), true, info.ModTime()
		}
	}
	return q, file, known
}

// file returns the name of the file for a platform.
func (c *Cache) file(id ID) string {
	h := sha256.New()
	fmt.Fprintln(h, c.Namespace)
	_ = binary.Write(h, binary.LittleEndian, id) // of fixed size
	return dataPrefix + hex.EncodeToString(h.Sum(nil)[:16]) + ".json"
}

// failureFile returns the name of the file of the provider's last failure.
func (c *Cache) failureFile(id ID) string {
	return failurePrefix + strings.TrimPrefix(c.file(id), dataPrefix)
}

// lockAll locks the directory for this goroutine and process.
func (c *Cache) lockAll(how int) (unlock func(), err error) {
	c.fetching.Lock()
	release, err := c.lock(how)
	if err != nil {
		c.fetching.Unlock()
		return nil, err
	}
	return func() {
		release()
		c.fetching.Unlock()
	}, nil
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
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock directory of platform certificates: %w", err)
	}
	return func() { file.Close() }, nil
}
