package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

func TestSign(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	heavy, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a, other := identitytest.New(t), identitytest.New(t)
	reader := load(t, a, "spiffe://cdn.example/edge/lon1")
	for name, key := range map[string]crypto.Signer{"ed25519": edwards, "rsa": heavy, "p384": p384} {
		cert, keyFile, ca := a.IssueFor(t.TempDir(), "spiffe://cdn.example/dns/ns1", time.Now().Add(time.Hour), key)
		writer, err := Load(cert, keyFile, ca, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := writer.Sign("word", []byte("hello"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		by, err := reader.Verify("word", []byte("hello"), s)
		if err != nil || by != (Peer{"spiffe://cdn.example/dns/ns1", DNS, "ns1"}) || by.Prober() != "dns-ns1" {
			t.Errorf("%s: %+v, %v", name, by, err)
		}
		for what, bad := range map[string]func() (Peer, error){
			"other data":    func() (Peer, error) { return reader.Verify("word", []byte("hullo"), s) },
			"other purpose": func() (Peer, error) { return reader.Verify("wor", []byte("dhello"), s) },
			"no chain":      func() (Peer, error) { return reader.Verify("word", []byte("hello"), Signature{nil, s.Value}) },
			"no signature":  func() (Peer, error) { return reader.Verify("word", []byte("hello"), Signature{s.Chain, nil}) },
			"other authority": func() (Peer, error) {
				return load(t, other, "spiffe://cdn.example/edge/e").Verify("word", []byte("hello"), s)
			},
			"other domain": func() (Peer, error) {
				return load(t, a, "spiffe://other.example/edge/e").Verify("word", []byte("hello"), s)
			},
			"large chain": func() (Peer, error) {
				chain := s.Chain
				for range 200 {
					chain = append(chain[:len(chain):len(chain)], s.Chain...)
				}
				return reader.Verify("word", []byte("hello"), Signature{chain, s.Value})
			},
		} {
			if by, err := bad(); err == nil {
				t.Errorf("%s: %s: it is by %+v", name, what, by)
			}
		}
	}
}

// The certificate counts on the day on which the signature is looked at.
func TestSignedLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := identitytest.New(t)
		reader := load(t, a, "spiffe://cdn.example/edge/e")
		cert, key, ca := a.Issue(t.TempDir(), "spiffe://cdn.example/dns/ns1", time.Now().Add(time.Minute))
		writer, err := Load(cert, key, ca, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := writer.Sign("word", nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := reader.Verify("word", nil, s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := reader.Verify("word", nil, s); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v", err)
		}
	})
}

func TestProbers(t *testing.T) {
	for id, want := range map[string]string{
		"dns/ns1": "dns-ns1", "prober/p.1_a": "prober-p.1_a", "edge/lon1": "", "operator/jo": "",
		"dns/eu/ns1": "", "dns/" + strings.Repeat("n", 60): "dns-" + strings.Repeat("n", 60), "dns/" + strings.Repeat("n", 61): "",
	} {
		if got := load(t, identitytest.New(t), "spiffe://cdn.example/"+id).Self().Prober(); got != want {
			t.Errorf("%s votes as %q, want %q", id, got, want)
		}
	}
}

// A process that votes goes on under its name; another takes whatever it is given.
func TestReloadKeepsTheName(t *testing.T) {
	a := identitytest.New(t)
	for _, test := range []struct{ from, to, is string }{
		{"dns/ns1", "dns/ns2", "dns/ns1"}, {"dns/ns1", "edge/e", "dns/ns1"}, {"edge/e", "edge/f", "edge/f"},
	} {
		dir := t.TempDir()
		cert, key, ca := a.Issue(dir, "spiffe://cdn.example/"+test.from, time.Now().Add(time.Hour))
		f, err := Load(cert, key, ca, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.Issue(dir, "spiffe://cdn.example/"+test.to, time.Now().Add(2*time.Hour))
		f.looked = time.Time{}
		if got := f.Self().ID; got != "spiffe://cdn.example/"+test.is {
			t.Errorf("from %s to %s: %s", test.from, test.to, got)
		}
	}
}

func FuzzVerify(f *testing.F) {
	a := identitytest.New(f)
	cert, key, ca := a.Issue(f.TempDir(), "spiffe://cdn.example/dns/ns1", time.Now().Add(time.Hour))
	files, err := Load(cert, key, ca, nil)
	if err != nil {
		f.Fatal(err)
	}
	s, err := files.Sign("word", []byte("hello"))
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, []byte("hello"))
	f.Add([]byte(`{"chain":["AA=="],"sig":""}`), []byte{})
	f.Fuzz(func(t *testing.T, text, data []byte) {
		var s Signature
		if json.Unmarshal(text, &s) != nil {
			return
		}
		if _, err := files.Verify("word", data, s); err == nil && string(data) != "hello" {
			t.Errorf("%q is verified by %s", data, text)
		}
	})
}
