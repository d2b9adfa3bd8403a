package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// process is this binary in another role. It ends with its standard input, so that it
// never outlives the test.
type process struct {
	*exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}
	err   error // how it ended, once ended is closed
}

// start starts a process, which ends with the test at the latest.
func start(t testing.TB, as role, stdout, stderr io.Writer, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...), ended: make(chan struct{})}
	p.Env = append(os.Environ(), roleEnv+"="+string(as))
	p.Stdout, p.Stderr = stdout, stderr
	var err error
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.Process.Kill() // it may have ended
	<-p.ended
}

// wait waits for the end of the process, but no longer than d.
func (p *process) wait(d time.Duration) error {
	select {
	case <-p.ended:
		return p.err
	case <-time.After(d):
		return fmt.Errorf("process %d still running after %s", p.Process.Pid, d)
	}
}

// job is a process that works on a task until it is stopped, and returns the outcome.
type job[Outcome any] struct {
	*process
	ready chan struct{} // closed once it works
	out   []byte        // the outcome, in JSON
}

// startJob starts a process with a task, in a pod if there are pods.
func startJob[Outcome any](t testing.TB, as role, pods *pods, pod int, task any) *job[Outcome] {
	t.Helper()
	j := &job[Outcome]{ready: make(chan struct{})}
	j.process = start(t, as, &lines{each: j.line}, os.Stderr)
	if err := pods.join(pod, j.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(j.stdin).Encode(task); err != nil {
		t.Fatal(err)
	}
	select {
	case <-j.ready:
	case <-j.ended:
		t.Fatalf("%s process: %v", as, j.err)
	case <-time.After(patience):
		t.Fatalf("%s process did not start within %s", as, patience)
	}
	return j
}

// readyLine is the first line that a job writes.
const readyLine = "ready"

func (j *job[Outcome]) line(line []byte) {
	if string(line) == readyLine {
		close(j.ready)
		return
	}
	j.out = bytes.Clone(line)
}

// stop stops the job and returns its outcome.
func (j *job[Outcome]) stop(t testing.TB) Outcome {
	t.Helper()
	j.stdin.Close()
	return j.outcome(t)
}

// outcome waits until the job has ended, and returns its outcome.
func (j *job[Outcome]) outcome(t testing.TB) (o Outcome) {
	t.Helper()
	<-j.ended
	if j.err != nil {
		t.Fatalf("job: %v", j.err)
	}
	if err := json.Unmarshal(j.out, &o); err != nil {
		t.Fatalf("decode the outcome of a job: %v in %q", err, j.out)
	}
	return o
}

// jobMain is the main function of a job. It reads the task, prepares it, and works until
// standard input ends.
func jobMain[Task, Outcome any](prepare func(context.Context, Task) (work func(context.Context) Outcome, err error)) int {
	in := json.NewDecoder(os.Stdin)
	var task Task
	if err := in.Decode(&task); err != nil {
		fmt.Fprintln(os.Stderr, "read task:", err)
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	work, err := prepare(ctx, task)
	if err == nil {
		fmt.Println(readyLine)
		err = json.NewEncoder(os.Stdout).Encode(work(ctx))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// lines calls each for each line that is written to it, without the newline.
type lines struct {
	mu   sync.Mutex
	rest []byte
	each func(line []byte)
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	done := 0
	for {
		n := bytes.IndexByte(l.rest[done:], '\n')
		if n < 0 {
			break
		}
		l.each(l.rest[done : done+n])
		done += n + 1
	}
	l.rest = append(l.rest[:0], l.rest[done:]...)
	return len(p), nil
}
