package installation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ServiceAccountDir is where a pod has the token of its service account.
const ServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

const (
	requestTimeout = 10 * time.Second
	// maxResponse bounds what is read of a response. A node has at most some tens of KiB,
	// and a page 250 of them.
	maxResponse = 64 << 20
)

// API reads objects of a cluster. It is no client-go, which is larger than the rest of the
// program: all that it does is to get JSON.
type API struct {
	base   string
	token  string
	client *http.Client
}

// InCluster returns the API server of the pod that this process runs in, and the namespace of
// the pod.
func InCluster(dir string, getenv func(string) string) (*API, string, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, "", errors.New("this is not a pod: run 'helm test RELEASE', which runs this command in one")
	}
	files := make(map[string]string)
	for _, name := range []string{"token", "ca.crt", "namespace"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, "", fmt.Errorf("read service account: %w: run 'helm test RELEASE', which runs this command in a pod that has one", err)
		}
		files[name] = string(text)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(files["ca.crt"])) {
		return nil, "", fmt.Errorf("read service account: %s has no certificate", filepath.Join(dir, "ca.crt"))
	}
	return &API{
		base:  "https://" + net.JoinHostPort(host, port),
		token: strings.TrimSpace(files["token"]),
		client: &http.Client{
			Timeout:   requestTimeout,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}, // no proxy
		},
	}, strings.TrimSpace(files["namespace"]), nil
}

// errNotFound is the error for an object that does not exist.
var errNotFound = errors.New("does not exist")

// get reads the object at a path.
func (a *API) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Accept", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the API server: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return fmt.Errorf("ask the API server for %s: %w", path, err)
	}
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return errNotFound
	default:
		var status struct{ Message string }
		_ = json.Unmarshal(body, &status) // a proxy's error is no JSON
		return fmt.Errorf("ask the API server for %s: %s: %s", path, response.Status, status.Message)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("ask the API server for %s: %w", path, err)
	}
	return nil
}

// pages calls do for each object of the list at a path, which may have a query, until it
// fails.
func pages[T any](ctx context.Context, api *API, path string, do func(T) error) error {
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	for next := ""; ; {
		var page struct {
			Metadata struct{ Continue string }
			Items    []T
		}
		if err := api.get(ctx, path+separator+"limit=250&continue="+url.QueryEscape(next), &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := do(item); err != nil {
				return err
			}
		}
		if next = page.Metadata.Continue; next == "" {
			return nil
		}
	}
}
