package verifier

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/ear"
	"github.com/confcom/confcom/internal/reload"
)

const (
	// maxLifetime bounds for how long a nonce or an EAR is valid.
	maxLifetime = 24 * time.Hour
	// maxKeyFile bounds the size of a file of keys.
	maxKeyFile = 64 << 10
	// challengeKeySize is the size of a key in --challenge-key. It is exact, so that a key that
	// is not written to its end is an error.
	challengeKeySize  = 32
	maxChallengeKeys  = 16
	challengeKeyShape = "want a line of 64 hexadecimal digits for each key: 'openssl rand -hex 32' makes one"
)

// signer returns what signs EARs, or nil if that is not configured.
func (s *server) signer() (*reload.Value[*ear.Signer], error) {
	if s.earKey == "" {
		return nil, nil
	}
	signer, err := reload.Read(func() (*ear.Signer, error) {
		text, err := readKeyFile(s.earKey)
		if err != nil {
			return nil, err
		}
		signer, err := ear.ParseSigner(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.earKey, err)
		}
		return signer, nil
	}, s.earKey)
	if err != nil {
		return nil, fmt.Errorf("--ear-key: %w", err)
	}
	return signer, nil
}

// challenges returns the issuer of nonces with the keys in a file.
func (s *server) challenges() (*reload.Value[*challenge.Issuer], error) {
	issuer, err := reload.Read(func() (*challenge.Issuer, error) {
		text, err := readKeyFile(s.challengeKey)
		if err != nil {
			return nil, err
		}
		keys, err := parseChallengeKeys(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.challengeKey, err)
		}
		return challenge.NewIssuer(s.challengeLifetime, keys...)
	}, s.challengeKey)
	if err != nil {
		return nil, fmt.Errorf("--challenge-key: %w", err)
	}
	return issuer, nil
}

// parseChallengeKeys reads the keys of challenges: the first one is for new nonces.
func parseChallengeKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for line := range strings.Lines(text) {
		key, err := hex.DecodeString(strings.TrimRight(line, "\r\n"))
		switch {
		case err != nil || len(key) != challengeKeySize: // the error would have a part of the key
			return nil, fmt.Errorf("line %d: not a key: %s", len(keys)+1, challengeKeyShape)
		case len(keys) == maxChallengeKeys:
			return nil, fmt.Errorf("more than %d keys", maxChallengeKeys)
		}
		keys = append(keys, key)
	}
	if keys == nil {
		return nil, errors.New("empty: " + challengeKeyShape)
	}
	return keys, nil
}

func readKeyFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("%s: more than %d bytes: not a file of keys", path, maxKeyFile)
	}
	return text, err
}
