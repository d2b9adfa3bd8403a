package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// A daemon tells everybody its conditions, and processes of the same machine its settings
// as well. It tells nobody a password.
func TestState(t *testing.T) {
	t.Setenv("http_proxy", "http://me:secret@proxy.example:3128")
	t.Setenv("KEY", "not shown")
	flags := pflag.NewFlagSet("sgx-example", pflag.ContinueOnError)
	flags.Int("workers", 2, "")
	flags.String("url", "https://me:secret@pccs.example/", "")
	env := &Environment{Health: new(Health), name: "sgx-example", shown: settingsShown{flags: valuesOf(flags)}}
	env.ShowVariables("http_proxy", "CONFCOM_TEST_NOT_SET")
	env.Health.Condition("socket").Set(nil)
	env.Health.Condition("quotes").Set(fmt.Errorf("no device: %w", advisedError{}))
	env.Health.Condition("policy").Note(errors.New("reload failed"))

	if _, text := env.Health.report(); text != "[+] socket\n[-] quotes: no device: ENODEV: load the driver\n[+] policy: reload failed\n" {
		t.Errorf("/readyz: %s", text)
	}

	everybody := State{Daemon: "sgx-example", Version: version(), Conditions: []ConditionState{
		{Name: "socket", Met: true},
		{Name: "quotes", Reason: "no device: ENODEV", Advice: "load the driver"},
		{Name: "policy", Met: true, Reason: "reload failed"},
	}}
	here := everybody
	here.Settings = &Settings{
		Flags:     map[string]string{"workers": "2", "url": "https://…@pccs.example/"},
		Variables: map[string]string{"http_proxy": "http://…@proxy.example:3128"},
		Files:     Files(),
	}
	for _, tt := range []struct {
		from string
		want State
	}{
		{"127.0.0.1:1", here},
		{"[::1]:1", here},
		{"[::ffff:127.0.0.1]:1", here},
		{"10.0.0.1:1", everybody},
		{"[2001:db8::1]:1", everybody},
		{"", everybody},
	} {
		recorder := httptest.NewRecorder()
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/statusz", nil)
		request.RemoteAddr = tt.from
		env.serveState(recorder, request)
		var got State
		if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got); recorder.Code != http.StatusOK || diff != "" {
			t.Errorf("from %q: %d\n%s", tt.from, recorder.Code, diff)
		}
	}
}

// advisedError is an error with advice.
type advisedError struct{}

func (advisedError) Error() string  { return "ENODEV" }
func (advisedError) Advice() string { return "load the driver" }

func TestWithoutSecrets(t *testing.T) {
	for value, want := range map[string]string{
		"":                                    "",
		"/etc/a@b?":                           "/etc/a@b?",
		"pccs.example":                        "pccs.example",
		"https://pccs.example/sgx/":           "https://pccs.example/sgx/",
		"https://me:secret@pccs.example/a@b":  "https://…@pccs.example/a@b",
		"https://me:se?cret@pccs.example":     "https://…@pccs.example",
		"http://me:se@cret@proxy.example:1":   "http://…@proxy.example:1",
		"https://pccs.example/?key=secret":    "https://pccs.example/?…",
		"me:secret@proxy.example:3128":        "…@proxy.example:3128",
		"socks5h://me:secret@proxy.example:1": "socks5h://…@proxy.example:1",
	} {
		if got := WithoutSecrets(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}
