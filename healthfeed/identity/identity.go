// Package identity says who is at the other end of a connection of the feed. Every
// process has a certificate with a SPIFFE ID in it, whose path begins with a role:
//
//	spiffe://cdn.example/dns/ns1       serves a hub, and may read; votes as dns-ns1
//	spiffe://cdn.example/prober/p1     serves a hub, and may read; votes as prober-p1
//	spiffe://cdn.example/edge/lon1     may read, and drain itself
//	spiffe://cdn.example/operator/jo   may read, and drain every node
//
// Both ends show theirs and demand one of the same trust domain, signed by the
// authorities in a file. Names of hosts play no part. What travels by way of others is
// signed with the same key, so that it is known from whom it comes. The files are
// looked at again with each connection and signature, once a second at most, so that
// short-lived certificates can be replaced while everything runs; files that are wrong,
// or make another prober of this process, are refused whole and the last good ones stay.
package identity

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// A Role is what a process is to the feed.
type Role string

// The roles.
const (
	Prober   Role = "prober"
	DNS      Role = "dns"
	Edge     Role = "edge"
	Operator Role = "operator"
)

// A Peer is the other end of a connection, or who signed something.
type Peer struct {
	ID   string // spiffe://cdn.example/edge/lon1
	Role Role
	Name string // lon1
}

// Prober is the name under which a peer votes, such as "dns-ns1"; empty for one whose
// role is not to, or whose own name has a slash or is too long for that of a prober.
func (p Peer) Prober() string {
	name := string(p.Role) + "-" + p.Name
	if p.Role != DNS && p.Role != Prober || strings.Contains(name, "/") || len(name) > 64 {
		return ""
	}
	return name
}

// lookInterval is how often the files are looked at, at most.
const lookInterval = time.Second

// Files are a certificate with its key and the authorities, in PEM.
type Files struct {
	// set at construction
	paths [3]string
	log   *slog.Logger

	mu      sync.Mutex // guards the rest
	looked  time.Time
	stamp   [3]stamp
	current *loaded
	failed  string // the last error that was logged
}

// loaded is what was in the files.
type loaded struct {
	svid   *x509svid.SVID
	bundle *x509bundle.Bundle
	cert   tls.Certificate
}

// A stamp tells one version of a file from another.
type stamp struct {
	size int64
	time time.Time
}

// Load reads the files; log, or the default logger, hears of later changes.
func Load(cert, key, ca string, log *slog.Logger) (*Files, error) {
	if log == nil {
		log = slog.Default()
	}
	f := &Files{paths: [3]string{cert, key, ca}, log: log, looked: time.Now()}
	f.stamp = f.look()
	var err error
	f.current, err = f.load()
	return f, err
}

func (f *Files) look() (stamps [3]stamp) {
	for i, path := range f.paths {
		if info, err := os.Stat(path); err == nil {
			stamps[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return stamps
}

func (f *Files) load() (*loaded, error) {
	svid, err := x509svid.Load(f.paths[0], f.paths[1])
	if err != nil {
		return nil, fmt.Errorf("certificate %q with key %q: %w", f.paths[0], f.paths[1], err)
	}
	bundle, err := x509bundle.Load(svid.ID.TrustDomain(), f.paths[2])
	if err != nil {
		return nil, fmt.Errorf("authorities %q: %w", f.paths[2], err)
	}
	if _, _, err := x509svid.Verify(svid.Certificates, bundle); err != nil {
		return nil, fmt.Errorf("certificate %q is not by the authorities in %q: %w", f.paths[0], f.paths[2], err)
	}
	if role := roleOf(svid.ID); !slices.Contains([]Role{Prober, DNS, Edge, Operator}, role) {
		return nil, fmt.Errorf("certificate %q is that of %s, which is no prober, dns, edge or operator", f.paths[0], svid.ID)
	}
	cert := tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return &loaded{svid, bundle, cert}, nil
}

// get returns what is in the files, or was when they were last good.
func (f *Files) get() *loaded {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.looked) < lookInterval {
		return f.current
	}
	f.looked = now
	stamps := f.look()
	if stamps == f.stamp {
		return f.current
	}
	next, err := f.load()
	if err == nil {
		if is, was := peer(next.svid.ID), peer(f.current.svid.ID); is.Prober() != was.Prober() {
			err = fmt.Errorf("certificate %q is that of %s, and this process has begun as %s", f.paths[0], is.ID, was.ID)
		}
	}
	if err != nil {
		// The files may be met halfway, so they are read again next time.
		if f.failed != err.Error() {
			f.failed = err.Error()
			f.log.Warn("refused; the last good certificate stays", "err", err)
		}
		return f.current
	}
	f.stamp, f.current, f.failed = stamps, next, ""
	f.log.Info("new certificate", "id", next.svid.ID.String(), "until", next.cert.Leaf.NotAfter)
	return f.current
}

// Self returns who the certificate is for.
func (f *Files) Self() Peer { return peer(f.get().svid.ID) }

// Server returns the configuration of a hub, which admits all four roles.
func (f *Files) Server() *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		NextProtos:       []string{"h2", "http/1.1"},
		ClientAuth:       tls.RequireAnyClientCert,
		VerifyConnection: f.verifier(Prober, DNS, Edge, Operator),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &f.get().cert, nil
		},
	}
}

// Client returns the configuration of a reader, which believes a hub of the roles dns
// and prober.
func (f *Files) Client() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // of host names; VerifyConnection does the rest
		VerifyConnection:   f.verifier(Prober, DNS),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &f.get().cert, nil
		},
	}
}

// verifier is called for every connection, those that resume a session included, for
// which VerifyPeerCertificate is not.
func (f *Files) verifier(roles ...Role) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		id, _, err := x509svid.Verify(s.PeerCertificates, f.get().bundle)
		if err != nil {
			return err
		}
		if !slices.Contains(roles, roleOf(id)) {
			return fmt.Errorf("the role of %s is not among %q", id, roles)
		}
		return nil
	}
}

var errNoPeer = errors.New("nobody has shown a certificate")

// PeerOf returns who is at the other end of a connection that was verified.
func PeerOf(s *tls.ConnectionState) (Peer, error) {
	if s == nil || len(s.PeerCertificates) == 0 {
		return Peer{}, errNoPeer
	}
	id, err := x509svid.IDFromCert(s.PeerCertificates[0])
	return peer(id), err
}

// peer takes an ID apart: the role is the first word of the path, and whoever has no
// name has none.
func peer(id spiffeid.ID) Peer {
	role, name, _ := strings.Cut(strings.TrimPrefix(id.Path(), "/"), "/")
	if name == "" {
		role = ""
	}
	return Peer{id.String(), Role(role), name}
}

func roleOf(id spiffeid.ID) Role { return peer(id).Role }
