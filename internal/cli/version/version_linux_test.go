package version_test

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/cli/clitest"
)

func TestVersion(t *testing.T) {
	if out := clitest.MustRun(t, "version"); !strings.HasPrefix(out, "confcom  ") || !strings.Contains(out, runtime.Version()) || !strings.Contains(out, "linux/"+runtime.GOARCH) {
		t.Errorf("%s", out)
	}
	if out := clitest.MustRun(t, "--version"); !strings.HasPrefix(out, "confcom ") || !strings.Contains(out, "("+runtime.Version()+")") {
		t.Errorf("%s", out)
	}
	var info struct{ Version, Go, Platform string }
	if err := json.Unmarshal([]byte(clitest.MustRun(t, "version", "-o", "json")), &info); err != nil || info.Version == "" || info.Go != runtime.Version() || info.Platform != "linux/"+runtime.GOARCH {
		t.Errorf("%+v, %v", info, err)
	}
}
