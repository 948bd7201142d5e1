package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A dialer makes the connections of one check. The files that the check names are
// read with the first one, and again once they have changed, so that a certificate
// may be renewed under a prober.
type dialer struct {
	check  *healthfeed.Check
	spiffe string // the identity that the certificate must have; "" for any

	mu     sync.Mutex  // guards the rest: a transport may still dial for an attempt that is over
	config *tls.Config // nil before the files were read
	read   [3]stamp    // of the files, when they were
}

// A stamp tells versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
}

// dialHTTPS is for an [net/http.Transport], which speaks both versions.
func (d *dialer) dialHTTPS(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, addr, "h2", "http/1.1")
	if secured, ok := conn.(*tls.Conn); err != nil || ok && secured.ConnectionState().NegotiatedProtocol == "h2" {
		return conn, err // which the transport has to know for what it is
	}
	return askFirst(conn), nil
}

// dialHTTP is the same without TLS.
func (d *dialer) dialHTTP(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.dialPlain(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return askFirst(conn), nil
}

// An asking connection reads nothing before something has been written: what a node says
// before it is asked, a transport of [net/http] prints to standard error.
type asking struct {
	net.Conn
	asked func() // closes ready
	ready chan struct{}
}

func askFirst(conn net.Conn) net.Conn {
	ready := make(chan struct{})
	return &asking{conn, sync.OnceFunc(func() { close(ready) }), ready}
}

func (a *asking) Read(b []byte) (int, error) {
	<-a.ready
	return a.Conn.Read(b)
}

func (a *asking) Write(b []byte) (int, error) {
	a.asked()
	return a.Conn.Write(b)
}

// Close ends a Read that waits.
func (a *asking) Close() error {
	err := a.Conn.Close()
	a.asked()
	return err
}

// dial connects, and verifies that the node is who the check says. Over the connection
// one of the protocols is spoken, by their names in ALPN, or whatever if there are
// none.
func (d *dialer) dial(ctx context.Context, network, addr string, protocols ...string) (net.Conn, error) {
	config, err := d.fresh()
	if err != nil {
		return nil, unableError{err}
	}
	config = config.Clone()
	config.NextProtos = protocols
	return (&tls.Dialer{NetDialer: d.plain(), Config: config}).DialContext(ctx, network, addr)
}

// dialPlain connects without TLS.
func (d *dialer) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	return d.plain().DialContext(ctx, network, addr)
}

// plain has a timeout of its own, because a transport goes on dialling when the attempt
// is over, and connections to a node that takes none would pile up.
func (d *dialer) plain() *net.Dialer { return &net.Dialer{Timeout: d.check.Timeout} }

// fresh returns a configuration by what is in the files now.
func (d *dialer) fresh() (*tls.Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.check
	var now [3]stamp
	for i, file := range [...]string{c.CA, c.Cert, c.Key} {
		if file == "" {
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	if d.config != nil && now == d.read {
		return d.config, nil
	}
	config := &tls.Config{ServerName: c.ServerName()}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in PEM", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", c.Cert, c.Key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if d.spiffe != "" {
		config.InsecureSkipVerify = true // of the name; VerifyConnection does the rest
		config.VerifyConnection = d.verifier(config.RootCAs)
	}
	d.config, d.read = config, now
	return config, nil
}

// verifier returns what verifies a certificate that has a SPIFFE ID: by who vouches for
// it and by the ID, of which there is one (X.509-SVID, section 2). It needs to have a name
// only if the check says which.
func (d *dialer) verifier(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		leaf := s.PeerCertificates[0]
		options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		if d.check.Host != "" {
			options.DNSName = d.check.ServerName()
		}
		for _, c := range s.PeerCertificates[1:] {
			options.Intermediates.AddCert(c)
		}
		if _, err := leaf.Verify(options); err != nil {
			return err
		}
		if len(leaf.URIs) != 1 || leaf.URIs[0].String() != d.spiffe {
			return fmt.Errorf("the certificate is for %v, not for %s", leaf.URIs, d.spiffe)
		}
		return nil
	}
}
