package reload

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) { synctest.Test(t, testWatch) }

func testWatch(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var reads atomic.Int64
	var refuse atomic.Bool
	// The value is the sum of two numbers, which must not be equal.
	sum := func() (int, error) {
		reads.Add(1)
		if refuse.Load() {
			return 0, errors.New("not yet")
		}
		var numbers [2]int
		for i, path := range []string{one, two} {
			text, err := os.ReadFile(path)
			if err != nil {
				return 0, err
			}
			if numbers[i], err = strconv.Atoi(string(text)); err != nil {
				return 0, err
			}
		}
		if numbers[0] == numbers[1] {
			return 0, errors.New("equal")
		}
		return numbers[0] + numbers[1], nil
	}
	write(one, "1")
	if _, err := Read(sum, one, two); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	write(two, "2")
	v, err := Read(sum, one, two)
	if err != nil || v.Get() != 3 {
		t.Fatalf("%v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var changes []error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.Watch(ctx, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			changes = append(changes, err)
		})
	}()
	step := func(what string, want, reported int, bad bool) {
		t.Helper()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if v.Get() != want || len(changes) != reported || reported > 0 && (changes[0] != nil) != bad {
			t.Errorf("%s: %d, changes %v", what, v.Get(), changes)
		}
		changes = nil
	}
	step("unchanged", 3, 0, false)
	write(one, "2")
	step("the first of two files", 3, 1, true)
	write(two, "5")
	step("the second", 7, 1, false)
	write(one, "")
	before := reads.Load()
	step("a broken file", 7, 1, true)
	if reads.Load() != before+1 {
		t.Errorf("read %d times", reads.Load()-before)
	}
	time.Sleep(2 * retryInterval)
	step("still broken", 7, 0, true)
	if n := reads.Load() - before; n != 3 {
		t.Errorf("read %d times in %s", n, 2*retryInterval)
	}
	if err := os.Remove(one); err != nil {
		t.Fatal(err)
	}
	step("a missing file", 7, 1, true)
	write(one, "3")
	step("a new file", 8, 1, false)
	refuse.Store(true)
	write(one, "4")
	step("a file that cannot be used yet", 8, 1, true)
	refuse.Store(false)
	time.Sleep(retryInterval)
	step("now it can, unchanged", 9, 1, false)
	stop()
	<-ended
}
