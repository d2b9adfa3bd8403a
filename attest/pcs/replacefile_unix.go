//go:build unix

package pcs

import (
	"path/filepath"

	"github.com/google/renameio/v2"
)

// replaceFile replaces a file atomically.
func replaceFile(name string, data []byte) error {
	return renameio.WriteFile(name, data, 0o600, renameio.WithTempDir(filepath.Dir(name)), renameio.WithStaticPermissions(0o600))
}
