package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"
)

// stubborn is set in the environment of a process to make it a daemon that ignores
// the first signal.
const stubborn = "CONFCOM_TEST_STUBBORN_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(stubborn) != "" {
		os.Exit(Main("stubborn", "Does not stop on request.", func(*pflag.FlagSet) Run {
			return func(ctx context.Context, _ *Environment) error {
				os.Stdout.WriteString("running\n")
				<-ctx.Done()
				select {}
			}
		}))
	}
	goleak.VerifyTestMain(m)
}

// start runs a daemon in this process and returns its exit code and output.
func start(args []string, configure func(*pflag.FlagSet) Run) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = program{"sgx-example", "Does one thing.", &out, &errs}.main(context.Background(), args, configure)
	return code, out.String(), errs.String()
}

// always configures a daemon without flags of its own.
func always(run Run) func(*pflag.FlagSet) Run {
	return func(*pflag.FlagSet) Run { return run }
}

// terminate sends SIGTERM to this process.
func terminate(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func TestCommandLine(t *testing.T) {
	configure := func(flags *pflag.FlagSet) Run {
		flags.Int("workers", 2, "number of workers")
		return func(context.Context, *Environment) error {
			t.Error("the daemon ran")
			return nil
		}
	}
	const hint = "\nTry 'sgx-example --help'.\n"
	tests := []struct {
		name string
		args string
		code int
		out  string // part of standard output
		err  string
	}{
		{"help", "--help", 0, "Does one thing.\n\nUsage:\n  sgx-example [flags]\n\nFlags:\n", ""},
		{"help shows own flags first", "--help", 0, "Flags:\n      --workers int", ""},
		{"help shows choices", "--help", 0, "--log-level debug|info|warn|error", ""},
		{"short help", "-h", 0, "Does one thing.", ""},
		{"version", "--version", 0, "sgx-example ", ""},
		{"unknown flag", "--nonsense", 2, "", "sgx-example: unknown flag: --nonsense" + hint},
		{"argument", "start", 2, "", `sgx-example: unexpected argument "start": only flags are accepted` + hint},
		{"choice", "--log-level=loud", 2, "", "sgx-example: --log-level=loud: not one of debug, info, warn, error" + hint},
		{"no value", "--log-format", 2, "", "sgx-example: flag needs an argument: --log-format" + hint},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, out, errs := start([]string{test.args}, configure)
			if code != test.code || errs != test.err || !strings.Contains(out, test.out) || code != 0 && out != "" {
				t.Errorf("exit %d\nstdout: %s\nstderr: %s", code, out, errs)
			}
		})
	}
}

func TestOutcome(t *testing.T) {
	tests := []struct {
		name string
		run  Run
		code int
		line string // part of a log line
	}{
		{"stopped", func(ctx context.Context, _ *Environment) error {
			terminate(t)
			<-ctx.Done()
			return nil
		}, 0, `"msg":"stopped"`},
		{"stop reason is logged", func(ctx context.Context, _ *Environment) error {
			terminate(t)
			<-ctx.Done()
			return nil
		}, 0, `"msg":"stopping","reason":"terminated signal received"`},
		{"stopped, returns the context's error", func(ctx context.Context, _ *Environment) error {
			terminate(t)
			<-ctx.Done()
			return ctx.Err()
		}, 0, `"msg":"stopped"`},
		{"fails", func(context.Context, *Environment) error {
			return errors.New("the socket is in use")
		}, 1, `"level":"ERROR","msg":"exiting on error","error":"the socket is in use"`},
		{"fails while stopping", func(ctx context.Context, _ *Environment) error {
			terminate(t)
			<-ctx.Done()
			return errors.New("the socket could not be removed")
		}, 1, `"error":"the socket could not be removed"`},
		{"panics", func(context.Context, *Environment) error {
			panic("the queue is empty")
		}, 1, "panic: the queue is empty: this is a bug"},
		{"panic logs a stack", func(context.Context, *Environment) error {
			panic("!")
		}, 1, "daemon_test.go:"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, _, log := start(nil, always(test.run))
			if code != test.code {
				t.Errorf("exit %d, want %d", code, test.code)
			}
			if !strings.Contains(log, test.line) {
				t.Errorf("no line with %s in\n%s", test.line, log)
			}
		})
	}
}

func TestSecondSignal(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), stubborn+"=1")
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := child.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	expect := func(lines *bufio.Scanner, want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("the process ended without writing %q", want)
	}
	expect(bufio.NewScanner(stdout), "running")
	child.Process.Signal(syscall.SIGTERM)
	expect(bufio.NewScanner(stderr), `"msg":"stopping"`)
	child.Process.Signal(syscall.SIGTERM)
	if err := child.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("ended with %v, want signal: terminated", err)
	}
}

func TestLog(t *testing.T) {
	chatter := always(func(_ context.Context, env *Environment) error {
		env.Log.Debug("detail")
		env.Log.Warn("trouble")
		return nil
	})
	_, _, text := start([]string{"--log-format=text", "--log-level=warn"}, chatter)
	if !strings.Contains(text, "level=WARN msg=trouble\n") || strings.Count(text, "\n") != 1 {
		t.Errorf("text at level warn: %s", text)
	}
	_, _, lines := start([]string{"--log-level=debug"}, chatter)
	first, _, _ := strings.Cut(lines, "\n")
	var line struct{ Level, Msg, Daemon, Version string }
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatal(err)
	}
	if line.Level != "INFO" || line.Msg != "starting" || line.Daemon != "sgx-example" || line.Version == "" {
		t.Errorf("first line: %s", first)
	}
	if !strings.Contains(lines, `"msg":"detail"`) {
		t.Errorf("no debug line: %s", lines)
	}
}

func TestHTTP(t *testing.T) {
	get := func(t *testing.T, url string) (int, string) {
		t.Helper()
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}

	// Find a free port by listening on one and closing it.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()

	code, _, errs := start([]string{"--http-address=" + address}, always(func(ctx context.Context, env *Environment) error {
		check := func(step, path string, wantCode int, wantBody string) {
			t.Helper()
			if code, body := get(t, "http://"+address+path); code != wantCode || body != wantBody {
				t.Errorf("%s: %s: %d\n%s", step, path, code, body)
			}
		}
		check("at start", "/readyz", 200, "[+] running\n")

		registered := env.Health.Condition("registered")
		check("with a new condition", "/readyz", 503, "[+] running\n[-] registered: not reached yet\n")
		check("with a new condition", "/healthz", 200, "ok\n")

		registered.Set(errors.New("no kubelet"))
		check("with a reason", "/readyz", 503, "[+] running\n[-] registered: no kubelet\n")

		registered.Set(nil)
		check("met", "/readyz", 200, "[+] running\n[+] registered\n")

		registered.Note(errors.New("slow kubelet"))
		check("met, with a note", "/readyz", 200, "[+] running\n[+] registered: slow kubelet\n")
		registered.Set(nil)
		check("met again", "/readyz", 200, "[+] running\n[+] registered\n")

		if code, body := get(t, "http://"+address+"/metrics"); code != 200 ||
			!strings.Contains(body, `confcom_build_info{daemon="sgx-example",version="`) || !strings.Contains(body, "\ngo_goroutines ") {
			t.Errorf("/metrics: %d\n%s", code, body)
		}
		registered.Set(errors.New("no kubelet"))
		for path, want := range map[string]string{
			"/metrics": "\nconfcom_condition_met{condition=\"registered\"} 0\nconfcom_condition_met{condition=\"running\"} 1\n",
			"/statusz": `"reason": "no kubelet"`,
		} {
			if code, body := get(t, "http://"+address+path); code != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %d\n%s", path, code, body)
			}
		}

		stopping := make(chan struct{})
		context.AfterFunc(ctx, func() { close(stopping) })
		terminate(t)
		<-stopping
		check("while stopping", "/healthz", 200, "ok\n")
		return nil
	}))
	if code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestHTTPAddressInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	code, _, errs := start([]string{"--http-address=" + listener.Addr().String()}, always(func(context.Context, *Environment) error {
		t.Error("the daemon ran")
		return nil
	}))
	if code != 1 || !strings.Contains(errs, "--http-address="+listener.Addr().String()) || !strings.Contains(errs, "address already in use") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
