package edgehealth

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

// A tlsHub is a hub with mutual TLS, which remembers who came last.
type tlsHub struct {
	*httptest.Server
	peer atomic.Pointer[string]
}

func newTLSHub(t *testing.T, a *identitytest.Authority, id string) *tlsHub {
	t.Helper()
	cert, key, ca := a.Issue(t.TempDir(), id, time.Now().Add(time.Hour))
	files, err := identity.Load(cert, key, ca, nil)
	if err != nil {
		t.Fatal(err)
	}
	handler := healthfeed.NewHub(running(t, healthfeed.Config{Inventory: inventory(t, twoNodes)}))
	h := new(tlsHub)
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, err := identity.PeerOf(r.TLS); err == nil {
			h.peer.Store(&p.ID)
		}
		handler.ServeHTTP(w, r)
	}))
	// httptest would put a certificate of its own before the hub's.
	h.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return files.Server(), nil }}
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // the hub dislikes that it is not believed
	h.StartTLS()
	t.Cleanup(func() {
		handler.Close() // or the server waits for its streams
		h.Close()
	})
	return h
}

// TestTLS: hub and edge show each other who they are; a hub of another role or of
// other authorities is not believed.
func TestTLS(t *testing.T) {
	authority, stranger := identitytest.New(t), identitytest.New(t)
	dir := t.TempDir()
	cert, key, ca := authority.Issue(dir, "spiffe://cdn.example/edge/ams1", time.Now().Add(time.Hour))
	s := newServer(t)
	load := func(from ...string) {
		t.Helper()
		s.mustLoad(fmt.Sprintf("edgehealth {\n self ams1\n from %s\n tls %s %s %s\n }", strings.Join(from, " "), cert, key, ca), "respond hello")
	}
	right := newTLSHub(t, authority, "spiffe://cdn.example/dns/ns1")
	edge, other := newTLSHub(t, authority, "spiffe://cdn.example/edge/lon1"), newTLSHub(t, stranger, "spiffe://cdn.example/dns/ns1")

	load(edge.URL, other.URL)
	app, _ := active()
	// Each of them is asked twice in this time, and once would do.
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if n := len(app.Table().Nodes); n != 0 {
			t.Fatalf("%d nodes by a hub that is not to be believed", n)
		}
	}
	load(right.URL, edge.URL)
	eventually(t, "the inventory of the hub", func() bool { _, a := s.nodes(); return len(a.Nodes) == 2 })
	if got := *right.peer.Load(); got != "spiffe://cdn.example/edge/ams1" {
		t.Errorf("the hub was shown %s", got)
	}
	for _, h := range []*tlsHub{edge, other} {
		if p := h.peer.Load(); p != nil {
			t.Errorf("a hub that is not to be believed was asked by %s", *p)
		}
	}

	// A certificate that is replaced is shown to the next hub that is connected to;
	// without a reload, and one that is wrong changes nothing.
	renewed := filepath.Join(dir, "renewed")
	authority.Issue(renewed, "spiffe://cdn.example/edge/renewed", time.Now().Add(time.Hour))
	if err := os.WriteFile(cert, []byte("half a certifi"), 0o600); err != nil {
		t.Fatal(err)
	}
	shown := func(want string) {
		t.Helper()
		// Files are looked at once a second; and who is cut off again and again waits
		// longer each time.
		for range 10 {
			right.peer.Store(nil)
			right.CloseClientConnections()
			eventually(t, "the edge comes again", func() bool { return right.peer.Load() != nil })
			if *right.peer.Load() == want {
				return
			}
			time.Sleep(time.Second)
		}
		t.Fatalf("the hub was never shown %s", want)
	}
	shown("spiffe://cdn.example/edge/ams1")
	for _, file := range []string{"cert.pem", "key.pem"} {
		if err := os.Rename(filepath.Join(renewed, file), filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	shown("spiffe://cdn.example/edge/renewed")
}

// TestProbeByCertificate: a site that verifies the certificates of clients tells its load
// to those whose SPIFFE ID is allowed, over real connections.
func TestProbeByCertificate(t *testing.T) {
	authority := identitytest.New(t)
	until := time.Now().Add(time.Hour)
	dir := t.TempDir()
	public := httptest.NewTLSServer(nil) // for its certificate
	public.Close()
	key, err := x509.MarshalPKCS8PrivateKey(public.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"site.pem": {Type: "CERTIFICATE", Bytes: public.TLS.Certificates[0].Certificate[0]},
		"site.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	proberCert, proberKey, ca := authority.Issue(filepath.Join(dir, "prober"), "spiffe://cdn.example/prober/p1", until)
	edgeCert, edgeKey, _ := authority.Issue(filepath.Join(dir, "edge"), "spiffe://cdn.example/edge/lon1", until)
	strangeCert, strangeKey, _ := identitytest.New(t).Issue(filepath.Join(dir, "strange"), "spiffe://cdn.example/prober/p1", until)

	s := newServer(t)
	s.overTCP()
	port := strings.TrimPrefix(strings.Fields(s.bind)[0], "http://")
	s.bind = strings.Replace(s.bind, "http://", "https://example.com", 1)
	s.mustLoad("", fmt.Sprintf(`tls %[1]s/site.pem %[1]s/site.key {
		client_auth {
			mode verify_if_given
			trust_pool file %[2]s
		}
	}
	edgehealth {
		allow spiffe://cdn.example/prober/
	}
	respond hello`, dir, ca))
	for _, tt := range []struct {
		name, cert, key string
		connects, told  bool
	}{
		{"prober", proberCert, proberKey, true, true},
		{"edge", edgeCert, edgeKey, true, false},
		{"nobody", "", "", true, false},
		{"of-other-authorities", strangeCert, strangeKey, false, false},
	} {
		config := &tls.Config{ServerName: "example.com", InsecureSkipVerify: true}
		if tt.cert != "" {
			pair, err := tls.LoadX509KeyPair(tt.cert, tt.key)
			if err != nil {
				t.Fatal(err)
			}
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		request, err := http.NewRequest(http.MethodHead, "https://127.0.0.1"+port+defaultPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "example.com" + port // as a check with "host": where clients are verified, Caddy compares it with SNI
		response, err := client.Do(request)
		if (err == nil) != tt.connects {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil {
			continue
		}
		response.Body.Close()
		if told := response.Header.Get(probe.LoadHeader) != ""; response.StatusCode != http.StatusOK || told != tt.told {
			t.Errorf("%s: status %d, told the load: %v", tt.name, response.StatusCode, told)
		}
	}
}

func TestTLSMistakes(t *testing.T) {
	s := newServer(t)
	until := time.Now().Add(time.Hour)
	cert, key, ca := identitytest.New(t).Issue(t.TempDir(), "spiffe://cdn.example/edge/ams1", until)
	nobody, nobodysKey, nobodysCA := identitytest.New(t).Issue(t.TempDir(), "spiffe://cdn.example/cashier/ams1", until)
	for _, tt := range []struct {
		from, want string
		files      [3]string
	}{
		{"http://127.0.0.1:1", "tls: it is for https URLs of from, and there is none", [3]string{cert, key, ca}},
		{"https://127.0.0.1:1", cert + ".missing", [3]string{cert + ".missing", key, ca}},
		{"https://127.0.0.1:1", key, [3]string{cert, key, key}},
		{"https://127.0.0.1:1", nobodysKey, [3]string{cert, nobodysKey, ca}},
		{"https://127.0.0.1:1", "is not by the authorities in \"" + nobodysCA, [3]string{cert, key, nobodysCA}},
		{"https://127.0.0.1:1", "cashier/ams1, which is no prober, dns, edge or operator", [3]string{nobody, nobodysKey, nobodysCA}},
		{"https://127.0.0.1:1", "certificate, key and authorities are needed", [3]string{cert, `""`, ca}},
		{"https://127.0.0.1:1", "env.TANDEM_NOT_SET", [3]string{"{env.TANDEM_NOT_SET}", key, ca}},
	} {
		err := s.load("edgehealth {\n from "+tt.from+"\n tls "+strings.Join(tt.files[:], " ")+"\n }", "respond hello")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, tls %s: %v, want %q", tt.from, tt.files, err, tt.want)
		}
	}
}
