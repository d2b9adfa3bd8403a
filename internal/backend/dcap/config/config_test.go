package config

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Everything but the environment reaches the worker.
func TestHandover(t *testing.T) {
	want := Config{Workers: 3, Program: "/bin/worker", Timeout: time.Second, MemoryLimit: 4, Library: "a.so", Provider: "b.so",
		EnclaveDir: "/enclaves", QCNL: "/qcnl", Certificates: "/certificates", RefreshAfter: time.Hour, FetchTimeout: time.Minute}
	for i, v := 0, reflect.ValueOf(want); i < v.NumField(); i++ {
		if field := v.Type().Field(i); v.Field(i).IsZero() && field.Name != "Env" {
			t.Errorf("%s is not tested", field.Name)
		}
	}
	given := want
	given.Env = []string{"SECRET=1"}
	text := given.Encode()
	if got, err := Decode(text); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
	if strings.Contains(text, "SECRET") {
		t.Error(text)
	}
}

func TestDecode(t *testing.T) {
	if got, err := Decode("{}"); err != nil || cmp.Diff(Default(), got) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(Default(), got))
	}
	for text, want := range map[string]string{
		"":                  "EOF",
		`{"workers":"two"}`: "cannot unmarshal",
		`{"workerz":2}`:     `unknown field "workerz"`,
		`{}{}`:              "data after its end",
	} {
		if _, err := Decode(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*Config)
		want   string // none if empty
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.Workers = 0 }, "workers=0: must be at least 1"},
		{func(c *Config) { c.FetchTimeout = 0 }, "certificates-timeout=0s: must be greater than 0"},
		{func(c *Config) { c.FetchTimeout = time.Minute }, "certificates-timeout=1m0s: must be at most 50s: a worker starts within a minute"},
		{func(c *Config) { c.Workers = -1 }, "workers=-1: must be at least 1"},
		{func(c *Config) { c.Timeout = 0 }, "worker-timeout=0s: must be greater than 0"},
		{func(c *Config) { c.RefreshAfter = -time.Hour }, "certificates-refresh=-1h0m0s: must be greater than 0"},
		{func(c *Config) { c.Program = "/nonexistent/worker" }, "worker-program=/nonexistent/worker: stat /nonexistent/worker: no such file or directory"},
	} {
		config := Default()
		config.Program = program
		c.change(&config)
		err := config.Validate()
		if c.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Error() != c.want {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
