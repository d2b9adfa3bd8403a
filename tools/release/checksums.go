package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const checksumsFile = "SHA256SUMS"

// fileDigest returns the SHA-256 digest of a file in hexadecimal.
func fileDigest(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:]), nil
}

// checksums returns the digests of all files in dir, in the form of sha256sum, in the
// order of their names.
func checksums(dir string) ([]byte, error) {
	var b bytes.Buffer
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		digest, err := fileDigest(filepath.Join(dir, name))
		fmt.Fprintf(&b, "%s  %s\n", digest, name)
		return err
	})
	return b.Bytes(), err
}

// checkRelease checks that the files of a release are those that were built. Others may
// have been added, such as signatures.
func checkRelease(dir string) error {
	sums, err := os.ReadFile(filepath.Join(dir, checksumsFile))
	if err != nil {
		return fmt.Errorf("%s is not a release: %w", dir, err)
	}
	for line := range strings.Lines(string(sums)) {
		want, name, found := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !found || !filepath.IsLocal(name) {
			return fmt.Errorf("%s: %q is not a checksum and a file", checksumsFile, line)
		}
		got, err := fileDigest(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s: SHA-256 is %s, %s has %s: build the release again", name, got, checksumsFile, want)
		}
	}
	return nil
}
