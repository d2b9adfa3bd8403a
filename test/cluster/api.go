package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// probeTimeout bounds one probe of a component.
const probeTimeout = 2 * time.Second

// adminClient returns an HTTP client with the administrator's certificate, which all
// components accept.
func adminClient(l layout) (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(l.Cert("admin"), l.Key("admin"))
	if err != nil {
		return nil, fmt.Errorf("load certificate of the administrator: %w", err)
	}
	ca, err := os.ReadFile(l.Cert("ca"))
	if err != nil {
		return nil, fmt.Errorf("load certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout: probeTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS13,
		}},
	}, nil
}

// socketClient returns an HTTP client that connects to a unix socket, whatever the
// host in the URL.
func socketClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
}

// get fetches a URL and, unless into is nil, decodes the JSON response into it.
func get(ctx context.Context, client *http.Client, url string, into any) error {
	return call(ctx, client, http.MethodGet, url, into)
}

// call makes a request and, unless into is nil, decodes the JSON response into it.
func call(ctx context.Context, client *http.Client, method, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return err // contains the method and the URL
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("%s %s: %s: %s", method, url, response.Status, lastLines(body, 3))
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	return nil
}
