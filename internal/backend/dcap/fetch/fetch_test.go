package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/confcom/confcom/internal/backend/dcap/certificates"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
)

// processMode makes this test binary a process that asks a provider.
const processMode = "FETCH_TEST_PROCESS"

func TestMain(m *testing.M) {
	if mode := os.Getenv(processMode); mode != "" {
		os.Exit(process(mode))
	}
	goleak.VerifyTestMain(m)
}

func testAnswer() certificates.Answer {
	return certificates.Answer{
		Data:   certificates.Data{CPUSVN: [16]byte{1, 2}, PCESVN: 13, Chain: []byte("chain\x00")},
		Source: certificates.Network,
	}
}

func testQuery() certificates.Query {
	return certificates.Query{ID: certificates.ID{QEID: [16]byte{7}, PCESVN: 13}, EncryptedPPID: []byte{0, 1, 2}, Fresh: true}
}

// process is the process in a mode, and what a worker's child does in it.
func process(mode string) int {
	out := os.NewFile(FD, "result")
	defer out.Close()
	err := Serve(context.Background(), os.Stdin, out, func(_ context.Context, q certificates.Query) (certificates.Answer, []Request, error) {
		answer, err := provide(mode, out, q)
		return answer, testRequests(), err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func testRequests() []Request {
	return []Request{{URL: "https://pccs.example/", Status: 404}, {URL: "https://pccs.example/", CURL: "(7) refused"}}
}

// provide is the provider in a mode.
func provide(mode string, out *os.File, q certificates.Query) (certificates.Answer, error) {
	switch mode {
	case "code":
		return certificates.Answer{}, fmt.Errorf("HTTP status 404: %w", quote3.NoPlatformCertData)
	case "useless":
		return certificates.Answer{}, &certificates.UselessError{Err: errors.New("2 certificates, want 3")}
	case "failure":
		return certificates.Answer{}, &LoadError{errors.New("no library: install one")}
	case "configuration":
		return certificates.Answer{}, &LoadError{fmt.Errorf("initialize it: %w", quote3.PlatformLibUnavailable)}
	case "segv":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // Go would handle SIGSEGV
		select {}
	case "exit":
		os.Exit(2)
	case "output":
		fmt.Fprintf(os.Stderr, "SIGSEGV: segmentation violation\nPC=1\n")
		os.Exit(2)
	case "half":
		fmt.Fprint(out, `{"Answer":{"Data"`)
		os.Exit(2)
	case "flood":
		for range 2 * maxResult {
			fmt.Fprint(out, "x")
		}
		os.Exit(0)
	case "child": // which lives on, with all descriptors
		child := exec.Command("/bin/sh", "-c", "exec sleep 3600")
		child.ExtraFiles = []*os.File{out}
		if err := child.Start(); err != nil {
			return certificates.Answer{}, err
		}
		if err := os.WriteFile(os.Getenv("FETCH_TEST_PID"), []byte(strconv.Itoa(child.Process.Pid)), 0o600); err != nil {
			return certificates.Answer{}, err
		}
	case "hang":
		time.Sleep(time.Hour)
	case "parent": // of a process that hangs
		fetcher := &Fetcher{Command: []string{"/bin/sh", "-c", "echo $$ >" + os.Getenv("FETCH_TEST_PID") + "; exec sleep 3600"}, Timeout: time.Hour}
		return fetcher.Fetch(context.Background(), q)
	}
	if diff := cmp.Diff(testQuery(), q); diff != "" {
		return certificates.Answer{}, errors.New(diff)
	}
	return testAnswer(), nil
}

func newFetcher(t *testing.T, mode string) *Fetcher {
	t.Setenv(processMode, mode)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return &Fetcher{Command: []string{os.Args[0]}, Service: "https://pccs.example", Timeout: time.Minute}
}

// An answer arrives as it is, and every way to end without one is an error that names the
// service.
func TestFetch(t *testing.T) {
	for _, c := range []struct {
		mode    string
		code    quote3.Error // of the error; 0 for none
		useless bool
		want    string // of the error; no error if empty
	}{
		{"ok", 0, false, ""},
		{"code", quote3.NoPlatformCertData, false, "ask https://pccs.example: HTTP status 404: SGX_QL_NO_PLATFORM_CERT_DATA (0xe011)"},
		{"useless", quote3.MessageParsingError, true, "the answer of https://pccs.example is of no use: 2 certificates, want 3"},
		{"failure", 0, false, "load the quote provider: no library: install one"},
		{"configuration", quote3.PlatformLibUnavailable, false, "load the quote provider: initialize it: SGX_QL_PLATFORM_LIB_UNAVAILABLE (0xe00e)"},
		{"segv", quote3.MessageParsingError, true, "the provider crashed on the answer of https://pccs.example (signal: killed)"},
		{"exit", quote3.MessageParsingError, true, "the provider crashed on the answer of https://pccs.example (exit status 2)"},
		{"output", quote3.MessageParsingError, true, "the provider crashed on the answer of https://pccs.example (exit status 2: SIGSEGV: segmentation violation)"},
		{"half", quote3.MessageParsingError, true, "the provider crashed on the answer of https://pccs.example (exit status 2)"},
		{"flood", quote3.MessageParsingError, true, "the provider crashed on the answer of https://pccs.example"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			got, requests, err := newFetcher(t, c.mode).Ask(t.Context(), testQuery())
			if hasAnswered := c.want == "" || !strings.Contains(c.want, "crashed"); hasAnswered {
				if diff := cmp.Diff(testRequests(), requests); diff != "" {
					t.Error(diff)
				}
			}
			if c.want == "" {
				if diff := cmp.Diff(testAnswer(), got); err != nil || diff != "" {
					t.Errorf("%v\n%s", err, diff)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if code, _ := errors.AsType[quote3.Error](err); code != c.code {
				t.Errorf("got the code %v, want %v", code, c.code)
			}
			if _, useless := errors.AsType[*certificates.UselessError](err); useless != c.useless {
				t.Errorf("useless: %v, want %v", useless, c.useless)
			}
		})
	}
}

// A provider that does not return is killed, after a while or when its answer is not
// needed any more.
func TestHang(t *testing.T) {
	f := newFetcher(t, "hang")
	f.Timeout = 300 * time.Millisecond
	_, err := f.Fetch(t.Context(), testQuery())
	if !errors.Is(err, quote3.ServiceTimeout) || !strings.HasPrefix(err.Error(), "no answer from https://pccs.example within 300ms") {
		t.Errorf("got %v", err)
	}
	f.Timeout = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := f.Fetch(ctx, testQuery()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A provider may start a process that lives on. The answer does not wait for its end.
func TestChildOfProvider(t *testing.T) {
	path := t.TempDir() + "/pid"
	t.Setenv("FETCH_TEST_PID", path)
	t.Cleanup(func() {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(string(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("the child has ended before: %v", err)
		}
	})
	got, err := newFetcher(t, "child").Fetch(t.Context(), testQuery())
	if diff := cmp.Diff(testAnswer(), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// A process does not outlive the one that has started it.
func TestParentDies(t *testing.T) {
	path := t.TempDir() + "/pid"
	f := newFetcher(t, "parent")
	cmd := exec.Command(f.Command[0])
	cmd.Env = append(os.Environ(), "FETCH_TEST_PID="+path)
	cmd.Stdin = strings.NewReader("{}")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd.ExtraFiles = []*os.File{null}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("timeout while waiting for %s", what)
			}
		}
	}
	var pid int
	await("the process", func() bool {
		text, _ := os.ReadFile(path)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0 && bytes.HasSuffix(text, []byte("\n"))
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	await("its end", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || bytes.Contains(stat, []byte(") Z "))
	})
}

// Whole lines of a log pass. Of the rest, the first line is kept.
func TestLogFilter(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	for _, size := range []int{1, 7, 1 << 20} {
		var to bytes.Buffer
		l := &logFilter{to: &to}
		text := "{\"msg\":1}\n" + "SIGSEGV\n" + "\n" + "PC=1\n" + "{" + long + "\n" + long + "\n{\"msg\":2}\n{\"cut"
		for part := range slices.Chunk([]byte(text), size) {
			if n, err := l.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if want := "{\"msg\":1}\n" + ("{" + long)[:maxLine] + "\n{\"msg\":2}\n"; to.String() != want || l.plain != "SIGSEGV" {
			t.Errorf("by %d bytes: passed %d bytes, want %d, and kept %q", size, to.Len(), len(want), l.plain)
		}
	}
}

// FuzzServe checks that no query makes the process fail otherwise than by an error.
func FuzzServe(f *testing.F) {
	f.Add([]byte(`{"ID":{"PCESVN":13},"EncryptedPPID":"AAEC"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, query []byte) {
		var out bytes.Buffer
		err := Serve(t.Context(), bytes.NewReader(query), &out, func(context.Context, certificates.Query) (certificates.Answer, []Request, error) {
			return testAnswer(), nil, nil
		})
		if (err == nil) != (out.Len() > 0) {
			t.Errorf("%v, %d bytes", err, out.Len())
		}
	})
}
