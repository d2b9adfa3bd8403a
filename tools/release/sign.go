package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What cosign calls its signatures.
const (
	signaturePayload    = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	signatureType       = "cosign container image signature"
)

// payload is what is signed of an image (Simple Signing, as cosign has it).
type payload struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]string `json:"optional"`
}

// readKey reads a private key: ECDSA on P-256, in PKCS #8 and PEM, without a password.
func readKey(file string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s has no block PRIVATE KEY: make a key with 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out %s'", file, file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s: not an ECDSA key on the curve P-256", file)
	}
	return ec, nil
}

// sign signs the images and the chart of the release in dir, where they were pushed to, and
// lists what it has signed. The registry keeps each signature beside what is signed, where
// 'cosign verify' finds it.
func sign(ctx context.Context, dir, registry string, key crypto.Signer, log io.Writer) error {
	_, manifest, err := readRelease(dir, registry)
	if err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		repository, tag, tagged := strings.Cut(d.Annotations[refName], ":")
		if !tagged {
			continue // an SBOM, which its image does not name
		}
		digest, err := name.NewDigest(registry+"/"+repository+"@"+d.Digest.String(), name.StrictValidation)
		if err != nil {
			return err
		}
		if err := signOne(ctx, digest, key); err != nil {
			return fmt.Errorf("sign %s:%s: %w", repository, tag, err)
		}
		if _, err := fmt.Fprintf(log, "%s (signed)\n", digest); err != nil {
			return err
		}
	}
	return nil
}

// signOne signs what has a digest.
func signOne(ctx context.Context, digest name.Digest, key crypto.Signer) error {
	options := registryOptions(ctx)
	if _, err := remote.Head(digest, options...); err != nil {
		return fmt.Errorf("push the release first: %w", err)
	}
	signature, err := signatureOf(digest, key)
	if err != nil {
		return err
	}
	image, err := signature.image()
	if err != nil {
		return err
	}
	return remote.Push(digest.Tag(strings.Replace(digest.DigestStr(), ":", "-", 1)+".sig"), image, options...)
}

// signatureOf returns the signature as cosign stores it.
func signatureOf(digest name.Digest, key crypto.Signer) (artifact, error) {
	var p payload
	p.Critical.Identity.Reference = digest.Context().Name()
	p.Critical.Image.Digest = digest.DigestStr()
	p.Critical.Type = signatureType
	text, err := json.Marshal(p)
	if err != nil {
		return artifact{}, err
	}
	sum := sha256.Sum256(text)
	signed, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return artifact{}, fmt.Errorf("sign: %w", err)
	}
	content, err := describe(signaturePayload, text)
	if err != nil {
		return artifact{}, err
	}
	config, err := json.Marshal(v1.ConfigFile{RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{content.Digest}}})
	if err != nil {
		return artifact{}, err
	}
	return artifact{
		configType:         types.OCIConfigJSON,
		config:             config,
		contentType:        signaturePayload,
		content:            text,
		contentAnnotations: map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(signed)},
	}, nil
}
