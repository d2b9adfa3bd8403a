package ratls_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/ratls"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// ends are the errors of a connection's two ends.
type ends struct {
	client, server error
	resumed        bool
}

// connect makes a connection, over which the server sends a byte.
func connect(t *testing.T, client, server *tls.Config) ends {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		secure := tls.Server(conn, server)
		_, err = secure.Write([]byte{1})
		if err == nil {
			_, err = secure.Read(make([]byte, 1)) // the client's alert, if it refuses the server
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		served <- err
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(conn, client)
	_, err = secure.Read(make([]byte, 1)) // after it, the client has the session ticket
	e := ends{client: err, resumed: secure.ConnectionState().DidResume}
	secure.Close()
	e.server = <-served
	return e
}

func attester(t *testing.T, p *platform) *ratls.Attester {
	t.Helper()
	a, err := ratls.NewAttester(t.Context(), ratls.AttesterConfig{Quote: p.Quote, DNSNames: []string{"enclave"}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestHandshake(t *testing.T) {
	enclave, domain := newPlatform(t, quote.SGX), newPlatform(t, quote.TDX)
	other := newPlatform(t, quote.SGX)
	other.signer = sgx.Measurement{9}
	mutual := func(own, peer *platform) *tls.Config {
		config := peer.verifier(t).ServerConfig()
		config.GetCertificate = attester(t, own).GetCertificate
		return config
	}
	client := func(own, peer *platform) *tls.Config {
		config := peer.verifier(t).ClientConfig()
		if own != nil {
			config.GetClientCertificate = attester(t, own).GetClientCertificate
		}
		return config
	}
	for _, c := range []struct {
		name           string
		client, server *tls.Config
		want           error
		end            string // which refuses
	}{
		{"a client without evidence", client(nil, enclave), &tls.Config{GetCertificate: attester(t, enclave).GetCertificate}, nil, ""},
		{"mutual", client(domain, enclave), mutual(enclave, domain), nil, ""},
		{"a server that is another enclave", client(nil, enclave), &tls.Config{GetCertificate: attester(t, other).GetCertificate}, attest.ErrNotTrusted, "client"},
		{"a client that is another enclave", client(other, enclave), mutual(enclave, enclave), attest.ErrNotTrusted, "server"},
		{"a server that lacks the key", client(nil, enclave), &tls.Config{Certificates: []tls.Certificate{withoutKey(t, enclave)}}, nil, "client"},
		{"a client without a certificate", client(nil, enclave), mutual(enclave, enclave), nil, "server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := connect(t, c.client, c.server)
			for end, err := range map[string]error{"client": e.client, "server": e.server} {
				switch {
				case c.end == "" && err != nil:
					t.Errorf("%s: %v", end, err)
				case c.end == end && (err == nil || c.want != nil && !errors.Is(err, c.want)):
					t.Errorf("%s: %v, want %v", end, err, c.want)
				case c.end != "" && c.end != end && err == nil:
					t.Errorf("%s has not noticed that it was refused", end)
				}
			}
		})
	}
}

// withoutKey returns a certificate with evidence, and the key of another.
func withoutKey(t *testing.T, p *platform) tls.Certificate {
	t.Helper()
	return tls.Certificate{Certificate: attester(t, p).Certificate().Certificate, PrivateKey: attester(t, p).Certificate().PrivateKey}
}

// The configuration of a verifier has no other way to accept a peer than by evidence.
func TestNoOtherPeers(t *testing.T) {
	if err := newPlatform(t, quote.SGX).verifier(t).VerifyConnection(tls.ConnectionState{}); !errors.Is(err, ratls.ErrNoCertificate) {
		t.Error(err)
	}
	if _, err := newPlatform(t, quote.SGX).verifier(t).Verify(t.Context(), nil); !errors.Is(err, ratls.ErrNoCertificate) {
		t.Error(err)
	}
	old := newPlatform(t, quote.SGX).verifier(t).ClientConfig()
	old.MaxVersion = tls.VersionTLS12
	if e := connect(t, old, &tls.Config{GetCertificate: attester(t, newPlatform(t, quote.SGX)).GetCertificate}); e.client == nil {
		t.Error("TLS 1.2 is accepted")
	}
}

// A resumed session is verified as a new one: by client and server, in TLS 1.2 and 1.3.
func TestResumption(t *testing.T) {
	p := newPlatform(t, quote.SGX)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, end := range []string{"client", "server"} {
			t.Run(tls.VersionName(version)+" "+end, func(t *testing.T) {
				var verdict error // of the end under test, about a trusted peer
				v := p.verifier(t)
				seen := 0
				v.Accept = func(_ tls.ConnectionState, peer *ratls.Peer) error {
					seen++
					if !peer.Trusted {
						t.Error("not trusted")
					}
					return verdict
				}
				client, server := p.verifier(t).ClientConfig(), &tls.Config{}
				if end == "client" {
					client = v.ClientConfig()
				} else {
					server = v.ServerConfig()
					client.GetClientCertificate = attester(t, p).GetClientCertificate
				}
				server.GetCertificate = attester(t, p).GetCertificate
				client.MinVersion, server.MinVersion = version, version
				client.MaxVersion, server.MaxVersion = version, version
				client.ClientSessionCache, client.ServerName = tls.NewLRUClientSessionCache(1), "enclave"

				first, second := connect(t, client, server), connect(t, client, server)
				if first != (ends{}) || second != (ends{resumed: true}) {
					t.Fatalf("%+v, %+v", first, second)
				}
				if seen != 2 {
					t.Errorf("the peer was verified %d times in 2 connections", seen)
				}
				verdict = errors.New("no longer")
				third := connect(t, client, server)
				got := third.client
				if end == "server" {
					got = third.server
				}
				if !errors.Is(got, verdict) {
					t.Errorf("a session is resumed with a peer that is no longer trusted: %+v", third)
				}
			})
		}
	}
}

// A session with a peer whose certificate has expired is not resumed.
func TestResumptionAfterExpiry(t *testing.T) {
	p := newPlatform(t, quote.SGX)
	v := p.verifier(t)
	client, server := v.ClientConfig(), &tls.Config{GetCertificate: attester(t, p).GetCertificate}
	client.ClientSessionCache, client.ServerName = tls.NewLRUClientSessionCache(1), "enclave"
	if e := connect(t, client, server); e != (ends{}) {
		t.Fatalf("%+v", e)
	}
	now := time.Now().Add(ratls.DefaultLifetime + time.Minute)
	v.Evidence.Now = func() time.Time { return now }
	if e := connect(t, client, server); !errors.Is(e.client, ratls.ErrCertificate) {
		t.Errorf("%+v", e)
	}
}
