package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// push pushes the images, their SBOMs and the chart of the release in dir to a registry,
// and lists what it has pushed. Credentials are those of 'docker login'. It can be
// repeated: what the registry has stays.
func push(ctx context.Context, dir, registry string, log io.Writer) error {
	index, manifest, err := readRelease(dir, registry)
	if err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		if err := pushOne(ctx, index, d, registry, log); err != nil {
			return fmt.Errorf("push %s: %w", d.Annotations[refName], err)
		}
	}
	return nil
}

// readRelease checks the release in dir, and that it may be pushed to a registry, and
// returns what there is to push.
func readRelease(dir, registry string) (v1.ImageIndex, *v1.IndexManifest, error) {
	if err := checkRelease(dir); err != nil {
		return nil, nil, err
	}
	host, _, _ := strings.Cut(registry, "/")
	if _, err := os.Stat(filepath.Join(dir, provenanceFile)); err != nil && !isLoopback(host) {
		return nil, nil, fmt.Errorf("%s was built --as-is, for trials: %w: build the release from a commit to push it to %s", dir, err, host)
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, "oci"))
	if err != nil {
		return nil, nil, fmt.Errorf("read images: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, nil, fmt.Errorf("read images: %w", err)
	}
	return index, manifest, nil
}

// registryOptions are those of each request to a registry.
func registryOptions(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
}

// pushOne pushes one image, index or artifact.
func pushOne(ctx context.Context, index v1.ImageIndex, d v1.Descriptor, registry string, log io.Writer) error {
	repository, tag, tagged := strings.Cut(d.Annotations[refName], ":")
	digest, err := name.NewDigest(registry+"/"+repository+"@"+d.Digest.String(), name.StrictValidation)
	if err != nil {
		return err
	}
	var to name.Reference = digest
	options := registryOptions(ctx)
	if tagged {
		to = digest.Tag(tag)
		if err := checkFree(to, d.Digest, options); err != nil {
			return err
		}
	}
	var content remote.Taggable
	if d.MediaType.IsIndex() {
		content, err = index.ImageIndex(d.Digest)
	} else {
		content, err = index.Image(d.Digest)
	}
	if err != nil {
		return err
	}
	if err := remote.Push(to, content, options...); err != nil {
		return err
	}
	if tagged {
		_, err = fmt.Fprintf(log, "%s@%s\n", to, d.Digest)
	} else {
		_, err = fmt.Fprintf(log, "%s (SBOM)\n", digest)
	}
	return err
}

// pushImage pushes an image that is in a tarball, which is no part of a release, and prints
// its digest.
func pushImage(ctx context.Context, file, ref string, log io.Writer) error {
	to, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return err
	}
	image, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		return fmt.Errorf("read image %s: %w", file, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("read image %s: %w", file, err)
	}
	options := registryOptions(ctx)
	if err := checkFree(to, digest, options); err != nil {
		return err
	}
	if err := remote.Write(to, image, options...); err != nil {
		return err
	}
	_, err = fmt.Fprintf(log, "%s@%s\n", to, digest)
	return err
}

// checkFree returns an error if a tag names something else: those who have installed that
// would silently get another version.
func checkFree(tag name.Reference, digest v1.Hash, options []remote.Option) error {
	existing, err := remote.Head(tag, options...)
	var failed *transport.Error
	switch {
	case errors.As(err, &failed) && failed.StatusCode == http.StatusNotFound:
		return nil
	case err != nil:
		return err
	case existing.Digest != digest:
		return fmt.Errorf("%s exists with another digest, %s: delete it, or release another version", tag, existing.Digest)
	}
	return nil
}
