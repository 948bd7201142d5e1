package geosched

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/etcdfeed"
)

// etcdConfig is a feed etcd line, with the files of feed tls.
type etcdConfig struct {
	Endpoints          []string
	Prefix             string   `json:",omitempty"`
	Region             string   `json:",omitempty"` // whose policies hold here
	Prober             string   `json:",omitempty"` // "" for a name of the host's
	User, PasswordFile string   `json:",omitempty"`
	Read               bool     `json:",omitempty"` // neither probe nor write
	TLS                []string `json:",omitempty"`
}

// etcd parses URL... [prefix PREFIX] [region NAME] [prober NAME] [user NAME FILE] [read].
func (p *parser) etcd(args []string) error {
	e := &etcdConfig{}
	for len(args) > 0 && strings.Contains(args[0], ":") {
		if err := etcdfeed.CheckEndpoint(args[0]); err != nil {
			return p.Err(err.Error())
		}
		e.Endpoints = append(e.Endpoints, args[0])
		args = args[1:]
	}
	if len(e.Endpoints) == 0 {
		return p.Err("feed etcd wants URL..., such as http://127.0.0.1:2379")
	}
	seen := make(map[string]bool)
	for len(args) > 0 {
		word, wants := args[0], 1
		switch word {
		case "user":
			wants = 2
		case "read":
			wants = 0
		case "prefix", "region", "prober":
		default:
			return p.Errf("feed etcd: %q is unknown, want prefix, region, prober, user or read", word)
		}
		switch {
		case seen[word]:
			return p.Errf("feed etcd: %q stands there twice", word)
		case len(args) <= wants && word == "user":
			return p.Err(`feed etcd: "user" wants NAME FILE`)
		case len(args) <= wants:
			return p.Errf("feed etcd: %q wants one more word", word)
		}
		seen[word] = true
		values := args[1 : 1+wants]
		args = args[1+wants:]
		var err error
		switch word {
		case "prefix":
			e.Prefix = values[0]
			err = etcdfeed.CheckPrefix(e.Prefix)
		case "region":
			e.Region = values[0]
			err = healthfeed.CheckName(e.Region)
		case "prober":
			e.Prober = values[0]
			err = healthfeed.CheckName(e.Prober)
		case "user":
			e.User, e.PasswordFile = values[0], p.path(values[1])
		case "read":
			e.Read = true
		}
		if err != nil {
			return p.Errf("feed etcd: %s: %v", word, err)
		}
	}
	if e.Read && e.Prober != "" {
		return p.Errf("feed etcd: prober %q is for a server that measures, and with read this one does not", e.Prober)
	}
	p.Etcd = e
	return nil
}

// secure reports whether some member is asked with TLS.
func (e *etcdConfig) secure() bool {
	return e != nil && slices.ContainsFunc(e.Endpoints, isHTTPS)
}

// prober is the name under which a name server with this etcd, if any, probes, unless it
// has a certificate.
func (e *etcdConfig) prober() string {
	if e == nil {
		return healthfeed.HostProber("dns")
	}
	return cmp.Or(e.Prober, healthfeed.HostProber("dns"))
}

// A wrote is a feed that writes to etcd, and where the Corefile says so.
type wrote struct {
	key feedKey
	at  position
}

// writes returns an error if another feed of h writes what k would: under one name the two
// would outdo each other for as long as they run.
func (h *holder) writes(k feedKey, at position) error {
	if k.Etcd == nil || !k.probes() {
		return nil
	}
	for _, w := range h.wrote {
		if !reflect.DeepEqual(w.key, k) && w.key.Prober == k.Prober && w.key.Etcd.meets(k.Etcd) {
			return at.wrap(fmt.Errorf("feed etcd: prober %q is that of the block with another feed at %s:%d; give one of them a name with prober NAME, or a certificate of its own",
				k.Prober, w.at.File, w.at.Line))
		}
	}
	h.wrote = append(h.wrote, wrote{k, at})
	return nil
}

// meets reports whether two write below the same prefix of the same etcd, as far as the
// endpoints tell.
func (e *etcdConfig) meets(other *etcdConfig) bool {
	same := func(a string) bool {
		return slices.ContainsFunc(other.Endpoints, func(b string) bool {
			return strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
		})
	}
	return cmp.Or(e.Prefix, etcdfeed.DefaultPrefix) == cmp.Or(other.Prefix, etcdfeed.DefaultPrefix) &&
		slices.ContainsFunc(e.Endpoints, same)
}

// source returns the source of a feed that writes as a prober, or does not if that is
// "", and reads the files that it needs for that.
func (e *etcdConfig) source(prober string, log *slog.Logger) (*etcdfeed.Source, error) {
	c := etcdfeed.Config{Endpoints: e.Endpoints, Prefix: e.Prefix, Prober: prober, User: e.User, PasswordFile: e.PasswordFile, Log: log}
	if len(e.TLS) > 0 {
		var err error
		if c.TLS, err = memberTLS(e.TLS[0], e.TLS[1], e.TLS[2]); err != nil {
			return nil, err
		}
	}
	return etcdfeed.New(c)
}

// memberTLS is for connections to members of etcd. They are known by the names in
// their certificates, as they have no SPIFFE ID, and know their users by the common
// name. The own certificate is read anew for each connection, so that it can be replaced
// while the server runs.
func memberTLS(certFile, keyFile, authorities string) (*tls.Config, error) {
	read := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", certFile, err)
		}
		return &cert, nil
	}
	if _, err := read(); err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(authorities)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: there is no certificate in it", authorities)
	}
	return &tls.Config{
		RootCAs:              trusted,
		MinVersion:           tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() },
	}, nil
}
