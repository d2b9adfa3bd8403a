package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// artifact is something other than an image that a registry keeps like one: a manifest
// with a configuration and one file.
type artifact struct {
	configType  types.MediaType
	config      []byte
	contentType types.MediaType
	content     []byte
	subject     *v1.Descriptor // the image that the artifact is about, if any
	annotations map[string]string

	contentAnnotations map[string]string
}

// image returns the artifact as what the library calls an image.
func (a artifact) image() (v1.Image, error) {
	image, err := partial.CompressedToImage(a)
	if err != nil {
		return nil, fmt.Errorf("artifact of type %s: %w", a.configType, err)
	}
	return image, nil
}

// MediaType implements partial.CompressedImageCore, as the following methods do.
func (a artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func (a artifact) RawConfigFile() ([]byte, error) { return a.config, nil }

func (a artifact) RawManifest() ([]byte, error) {
	config, err := describe(a.configType, a.config)
	if err != nil {
		return nil, err
	}
	content, err := describe(a.contentType, a.content)
	if err != nil {
		return nil, err
	}
	content.Annotations = a.contentAnnotations
	return json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        config,
		Layers:        []v1.Descriptor{content},
		Subject:       a.subject,
		Annotations:   a.annotations,
	})
}

func (a artifact) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	for _, b := range []blob{{a.configType, a.config}, {a.contentType, a.content}} {
		if d, err := b.Digest(); err != nil || d == digest {
			return b, err
		}
	}
	return nil, fmt.Errorf("the artifact has no blob %s", digest)
}

// describe returns the descriptor of content.
func describe(mediaType types.MediaType, content []byte) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}, err
}

// blob is a part of an artifact. It implements partial.CompressedLayer: what it contains
// is stored as it is.
type blob struct {
	mediaType types.MediaType
	content   []byte
}

func (b blob) Digest() (v1.Hash, error) {
	d, err := describe(b.mediaType, b.content)
	return d.Digest, err
}
func (b blob) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b.content)), nil
}
func (b blob) Size() (int64, error)                { return int64(len(b.content)), nil }
func (b blob) MediaType() (types.MediaType, error) { return b.mediaType, nil }
