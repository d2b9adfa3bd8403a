package top

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

const (
	// requestTimeout bounds the requests of a call of kubectl, and callTimeout the call.
	requestTimeout = "10s"
	callTimeout    = 30 * time.Second
	// proxyTimeout bounds a request through the API server to a pod, which does not answer
	// if a network policy drops it.
	proxyTimeout = 5 * time.Second
	// forwardTimeout bounds the start of a port-forward.
	forwardTimeout = 10 * time.Second
	// maxMetrics is the longest accepted page of metrics in bytes.
	maxMetrics = 4 << 20
)

// kubectl is how to call kubectl.
type kubectl struct{ path, kubeconfig, context string }

// command returns a call, which ends when ctx is done.
func (k kubectl) command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath(k.path)
	if err != nil {
		return nil, fmt.Errorf("find kubectl: %w: install it, or pass --kubectl", err)
	}
	if k.context != "" {
		args = append([]string{"--context=" + k.context}, args...)
	}
	if k.kubeconfig != "" {
		args = append([]string{"--kubeconfig=" + k.kubeconfig}, args...)
	}
	command := exec.CommandContext(ctx, path, args...)
	command.WaitDelay = time.Second
	return command, nil
}

// run returns the output of a call.
func (k kubectl) run(ctx context.Context, timeout time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command, err := k.command(ctx, append(args, "--request-timeout="+requestTimeout)...)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("kubectl %s: %w", args[0], ctx.Err())
	case err != nil && stderr.Len() > 0:
		return nil, fmt.Errorf("kubectl %s: %s", args[0], conclusion(stderr.String()))
	case err != nil:
		return nil, fmt.Errorf("kubectl %s: %w", args[0], err)
	}
	return out, nil
}

// conclusion returns the last line of what kubectl says about a failure. The lines before it are
// those of its log.
func conclusion(text string) string {
	text = strings.TrimSpace(text)
	return strings.TrimPrefix(text[strings.LastIndexByte(text, '\n')+1:], "error: ")
}

// forward is a port-forward to the port for metrics of a pod, which is named http. It enters
// the network of the pod on its node, where network policies do not apply.
type forward struct {
	url   string
	stop  context.CancelFunc
	ended chan struct{} // closed once kubectl has ended
}

var forwarding = regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:[0-9]+) `)

// forward starts a port-forward, which lasts until it is closed or kubectl ends. ctx is that of
// the start.
func (k kubectl) forward(ctx context.Context, namespace, pod string) (*forward, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // close ends it
	command, err := k.command(running, "--namespace="+namespace, "port-forward", "--address=127.0.0.1", "pod/"+pod, ":http")
	if err != nil {
		stop()
		return nil, err
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdout, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("kubectl port-forward: %w", err)
	}
	f := &forward{stop: stop, ended: make(chan struct{})}
	address := make(chan string, 1)
	go func() {
		defer close(f.ended)
		found := false
		for lines := bufio.NewScanner(stdout); lines.Scan(); { // a line for each connection follows
			if m := forwarding.FindStringSubmatch(lines.Text()); m != nil && !found {
				found = true
				address <- m[1]
			}
		}
		_ = command.Wait() // it ends by being stopped
	}()
	select {
	case a := <-address:
		f.url = "http://" + a + "/metrics"
		return f, nil
	case <-f.ended:
		stop()
		return nil, fmt.Errorf("kubectl port-forward: %s", conclusion(stderr.String()))
	case <-ctx.Done():
		f.close()
		return nil, ctx.Err()
	case <-time.After(forwardTimeout):
		f.close()
		return nil, errors.New("kubectl port-forward: no answer")
	}
}

// close ends the port-forward, and waits for that.
func (f *forward) close() {
	f.stop()
	<-f.ended
}

// get returns the metrics behind a port-forward.
func (f *forward) get(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, proxyTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, err
	}
	// It is a connection to this machine: no proxy, and none that stays open.
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", f.url, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxMetrics))
}
