package etcdfeed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// follow runs a source, with a feed that has nothing else, until the test ends.
func follow(t *testing.T, c Config) (*Source, *healthfeed.Feed) {
	t.Helper()
	c.Log = slog.New(slog.DiscardHandler)
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.pace = quick
	f, err := healthfeed.Open(healthfeed.Config{Sources: []healthfeed.Source{s}, Log: c.Log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s, f
}

// Who has the password may read; who has another, or none, is told nothing.
func TestPassword(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		c.put("/tandem/inventory", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}]}`)
		client, ctx := c.client(t), t.Context()
		for _, do := range []func() error{
			func() error { _, err := client.RoleAdd(ctx, "reader"); return err },
			func() error {
				_, err := client.RoleGrantPermission(ctx, "reader", "/tandem/", clientv3.GetPrefixRangeEnd("/tandem/"), clientv3.PermissionType(clientv3.PermRead))
				return err
			},
			func() error { _, err := client.UserAdd(ctx, "dns", "secret"); return err },
			func() error { _, err := client.UserGrantRole(ctx, "dns", "reader"); return err },
			func() error { _, err := client.UserAdd(ctx, "root", "root"); return err },
			func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
			func() error { _, err := client.AuthEnable(ctx); return err },
		} {
			if err := do(); err != nil {
				t.Fatal(err)
			}
		}
		file := func(password string) string {
			path := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		_, good := follow(t, Config{Endpoints: c.endpoints(), User: "dns", PasswordFile: file("secret")})
		bad, badFeed := follow(t, Config{Endpoints: c.endpoints(), User: "dns", PasswordFile: file("guess")})
		none, noneFeed := follow(t, Config{Endpoints: c.endpoints()})
		eventually(t, "the password opens nothing", func() bool { return len(good.Table().Nodes) == 1 })
		eventually(t, "nobody is refused", func() bool { return bad.Doubts() > 0 && none.Doubts() > 0 })
		if len(badFeed.Table().Nodes)+len(noneFeed.Table().Nodes) > 0 {
			t.Error("nodes are told to who has no password")
		}
	})
}

// Rights that are taken away while a reader follows cost it nothing that it knows, and
// when they are given again it goes on.
func TestRightsTakenAway(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		k := newLink(t, c.members[0].endpoint)
		writer := join(t, "one", quick, inventory, c.endpoints()...)
		writer.vote(map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Down})
		reader := join(t, "", quick, inventory, k.url)
		known := func() bool {
			return reader.state("lon") == healthfeed.Up && reader.state("sea") == healthfeed.Down
		}
		eventually(t, "the reader does not hear", known)
		client, ctx := c.client(t), t.Context()
		for _, do := range []func() error{
			func() error { _, err := client.UserAdd(ctx, "root", "root"); return err },
			func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
			func() error { _, err := client.AuthEnable(ctx); return err },
		} {
			if err := do(); err != nil {
				t.Fatal(err)
			}
		}
		k.cut() // a watch that is open is not asked again
		k.heal()
		eventually(t, "nobody is refused", func() bool {
			return !reader.source.Following() && strings.Contains(reader.log.String(), "user name is empty") && writer.source.Unwritten() > 0
		})
		eventually(t, "the table does not grow old", func() bool { return reader.Table().Freshness == healthfeed.LastKnownGood })
		if !known() {
			t.Errorf("without rights, lon is %v and sea is %v", reader.state("lon"), reader.state("sea"))
		}
		root, err := clientv3.New(clientv3.Config{Endpoints: c.endpoints(), Username: "root", Password: "root", Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if _, err := root.AuthDisable(ctx); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it does not go on", func() bool { return reader.fresh() && known() })
	})
}

// A member that wants a certificate is shown one, and who has none hears nothing.
func TestClientCertificate(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		dir := t.TempDir()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		// One certificate that signs itself is authority, member and client.
		der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write := func(name, kind string, der []byte) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		certFile, keyFile := write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", keyDER)
		secure := strings.Replace(freeURL(t), "http:", "https:", 1)
		c := startEtcd(t, etcd, 1, "--cert-file", certFile, "--key-file", keyFile, "--client-cert-auth", "--trusted-ca-file", certFile)
		m := c.members[0]
		m.kill()
		for i, arg := range m.args {
			if strings.HasSuffix(arg, "-client-urls") {
				m.args[i+1] += "," + secure
			}
		}
		m.start(t)
		c.put("/tandem/inventory", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}]}`)
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		trusted := x509.NewCertPool()
		trusted.AddCert(parsed)
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		_, known := follow(t, Config{Endpoints: []string{secure}, TLS: &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{pair}}})
		eventually(t, "the certificate opens nothing", func() bool { return len(known.Table().Nodes) == 1 })
		stranger, strangerFeed := follow(t, Config{Endpoints: []string{secure}, TLS: &tls.Config{RootCAs: trusted}})
		eventually(t, "nobody is refused", func() bool { return stranger.Doubts() > 0 })
		if len(strangerFeed.Table().Nodes) > 0 {
			t.Error("nodes are told to who has no certificate")
		}
	})
}

var certificate = &x509.Certificate{
	SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dns"},
	NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
}
