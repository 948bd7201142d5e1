package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"github.com/tandem-cdn/tandem/internal/binaries"
)

// composed are three equals in London and another CDN, with a network for lon2 alone
// and one for that CDN.
const composed = `
	geosched {
		node lon1 192.0.2.1 2001:db8::1 51.5 -0.12
		node lon2 192.0.2.2 2001:db8::2 51.5 -0.12
		node lon3 192.0.2.3 2001:db8::3 51.5 -0.12
		node other edge.other.example. 39.9 116.4
		nets nets
		types A AAAA HTTPS
		svcparams alpn=h3,h2
		answers 3
		steer www
	}
`

// logged collects what a program writes.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// coredns runs the program with a Corefile, in which $PORT is the port that is
// returned as an address, until the test ends.
func coredns(t *testing.T, dir, corefile string) (addr string, log *logged) {
	t.Helper()
	port := udpPort(t)
	corefile = strings.ReplaceAll(corefile, "$PORT", fmt.Sprint(port))
	for name, text := range map[string]string{"Corefile": corefile, "nets": "198.51.100.0/24 node lon2\n203.0.113.0/24 node other\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program(binaries.CoreDNS), "-conf", "Corefile")
	cmd.Dir = dir
	log = new(logged)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); cmd.Wait() })
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if m, err := dns.Exchange(new(dns.Msg).SetQuestion("cdn.example.", dns.TypeSOA), addr); err == nil && m != nil {
			return addr, log
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not answer:\n%s", log)
		}
	}
}

// from is a query of a client in a network.
func from(subnet, name string, qtype uint16, do bool) *dns.Msg {
	ip, n, err := net.ParseCIDR(subnet)
	if err != nil {
		panic(err)
	}
	bits, _ := n.Mask.Size()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(1232, do)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(bits), Address: ip.To4()}}
	return m
}

// scope is what an answer says of its client subnet, -1 if it says nothing.
func scope(m *dns.Msg) int {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_SUBNET); ok {
				return int(e.SourceScope)
			}
		}
	}
	return -1
}

// signingKey makes a key for the dnssec plugin in files of dir, and returns its
// record and the name of the files.
func signingKey(t *testing.T, dir string) (*dns.DNSKEY, string) {
	t.Helper()
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "cdn.example.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("Kcdn.example.+013+%05d", key.KeyTag())
	for file, text := range map[string]string{name + ".key": key.String() + "\n", name + ".private": key.PrivateKeyString(private)} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, name
}

// verify checks that every RRset of a section is signed by the key, and returns the
// signatures.
func verify(t *testing.T, key *dns.DNSKEY, section []dns.RR) (signatures []string) {
	t.Helper()
	sets := map[string][]dns.RR{}
	for _, rr := range section {
		if rr.Header().Rrtype != dns.TypeRRSIG {
			id := strings.ToLower(rr.Header().Name) + dns.TypeToString[rr.Header().Rrtype]
			sets[id] = append(sets[id], rr)
		}
	}
	for _, rr := range section {
		sig, ok := rr.(*dns.RRSIG)
		if !ok {
			continue
		}
		id := strings.ToLower(sig.Hdr.Name) + dns.TypeToString[sig.TypeCovered]
		if err := sig.Verify(key, sets[id]); err != nil {
			t.Errorf("signature of %s: %v", id, err)
		}
		if !sig.ValidityPeriod(time.Now()) {
			t.Errorf("signature of %s is not valid now", id)
		}
		delete(sets, id)
		signatures = append(signatures, sig.Signature)
	}
	if len(sets) > 0 {
		t.Errorf("not signed: %v", sets)
	}
	return signatures
}

// Behind dnssec answers, and the lack of them, are signed, with the client subnet
// and its scope; and the order of the nodes does not cost a signature each.
func TestWithDNSSEC(t *testing.T) {
	dir := t.TempDir()
	key, name := signingKey(t, dir)
	addr, log := coredns(t, dir, "cdn.example:$PORT {\n\tbind 127.0.0.1\n\tdnssec {\n\t\tkey file "+name+"\n\t}"+composed+"}\n")
	ask := func(subnet, name string, qtype uint16) *dns.Msg {
		t.Helper()
		m, err := dns.Exchange(from(subnet, name, qtype, true), addr)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := ask("8.8.8.0/24", "cdn.example.", dns.TypeDNSKEY)
	if len(m.Answer) != 2 {
		t.Fatalf("DNSKEY: got %v", m)
	}
	key = m.Answer[slices.IndexFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeDNSKEY })].(*dns.DNSKEY)
	verify(t, key, m.Answer)
	if scope(m) != 0 {
		t.Errorf("DNSKEY: scope %d", scope(m))
	}

	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		seen := map[string]bool{}
		for range 30 {
			m := ask("8.8.8.0/24", "www.cdn.example.", qtype)
			if len(m.Answer) != 4 || scope(m) != 7 {
				t.Fatalf("got %v", m)
			}
			for _, s := range verify(t, key, m.Answer) {
				seen[s] = true
			}
		}
		if len(seen) != 1 {
			t.Errorf("%s: %d signatures of the same three records", dns.TypeToString[qtype], len(seen))
		}
	}
	if m := ask("198.51.100.0/24", "www.cdn.example.", dns.TypeHTTPS); len(verify(t, key, m.Answer)) != 1 || len(m.Answer) != 2 || scope(m) != 24 {
		t.Errorf("HTTPS: got %v", m)
	}
	if !strings.Contains(log.String(), "dnssec stands before geosched and denies HTTPS") {
		t.Errorf("no warning in\n%s", log)
	}
	if m := ask("203.0.113.0/24", "www.cdn.example.", dns.TypeA); len(m.Answer) != 2 || m.Answer[0].Header().Rrtype != dns.TypeCNAME || len(verify(t, key, m.Answer)) != 1 || scope(m) != 24 {
		t.Errorf("CNAME: got %v", m)
	}
	for what, m := range map[string]*dns.Msg{
		"NODATA":   ask("8.8.8.0/24", "www.cdn.example.", dns.TypeMX),
		"NXDOMAIN": ask("8.8.8.0/24", "nope.cdn.example.", dns.TypeA),
	} {
		verify(t, key, m.Ns)
		var types []string
		for _, rr := range m.Ns {
			types = append(types, dns.TypeToString[rr.Header().Rrtype])
		}
		slices.Sort(types)
		if got := strings.Join(types, " "); m.Rcode != dns.RcodeSuccess || got != "NSEC RRSIG RRSIG SOA" || scope(m) != 0 {
			t.Errorf("%s: %s in %v", what, got, m)
		}
	}
}

// Blocks of the same zone are chosen by view, and each echoes.
func TestWithViews(t *testing.T) {
	block := func(view, node string) string {
		return "cdn.example:$PORT {\n\tbind 127.0.0.1\n" + view + "\tgeosched {\n\t\tnode " + node + "\n\t\tsteer www\n\t}\n}\n"
	}
	addr, _ := coredns(t, t.TempDir(),
		block("\tview six {\n\t\texpr type() == 'AAAA'\n\t}\n", "six 2001:db8::6 0 0")+block("", "four 192.0.2.4 0 0"))
	for qtype, want := range map[uint16]string{dns.TypeA: "192.0.2.4", dns.TypeAAAA: "2001:db8::6"} {
		m, err := dns.Exchange(from("8.8.8.0/24", "www.cdn.example.", qtype, false), addr)
		if err != nil || len(m.Answer) != 1 || !strings.HasSuffix(m.Answer[0].String(), "\t"+want) || scope(m) != 7 {
			t.Errorf("got %v, %v, want %s", m, err, want)
		}
	}
}

// A plugin that finds an answer in a zone where nobody speaks of the client subnet has
// it for everybody, however it asks.
func TestFollowedByTemplate(t *testing.T) {
	addr, _ := coredns(t, t.TempDir(), "cdn.example:$PORT {\n\tbind 127.0.0.1"+composed+"}\n"+
		"example:$PORT {\n\tbind 127.0.0.1\n\ttemplate IN A {\n\t\tanswer \"{{ .Name }} 60 IN CNAME www.cdn.example.\"\n\t\tupstream\n\t}\n}\n")
	m, err := dns.Exchange(from("198.51.100.0/24", "alias.example.", dns.TypeA, false), addr)
	if err != nil || len(m.Answer) < 2 || scope(m) >= 0 {
		t.Fatalf("got %v, %v", m, err)
	}
	for range 50 { // the resolver may be anywhere, but it is not in the network for lon2 alone
		if m, err = dns.Exchange(from("198.51.100.0/24", "alias.example.", dns.TypeA, false), addr); err != nil {
			t.Fatal(err)
		}
		if len(m.Answer) != 2 || m.Answer[1].String() != "www.cdn.example.\t300\tIN\tA\t192.0.2.2" {
			return
		}
	}
	t.Errorf("the client subnet has steered an answer that does not have it: %v", m)
}

// Plugins above geosched answer with the client subnet.
func TestWithPluginsAbove(t *testing.T) {
	addr, log := coredns(t, t.TempDir(), `cdn.example:$PORT {
	bind 127.0.0.1
	multisocket 2
	metadata
	log . "{name} {type} is {rcode} by {/geosched/node} for {/geosched/class}"
	errors
	acl {
		block type A net 192.0.2.0/24
		block type TXT
		filter type SRV
	}
	template IN MX {
		answer "{{ .Name }} 60 IN MX 10 mx.cdn.example."
	}
	template IN NAPTR {
		rcode SERVFAIL
	}
	chaos
`+composed+"}\n")
	for _, tt := range []struct {
		qtype   uint16
		rcode   int
		answers int
		scope   int
	}{
		{dns.TypeTXT, dns.RcodeRefused, 0, 0},
		{dns.TypeSRV, dns.RcodeSuccess, 0, 0},
		{dns.TypeMX, dns.RcodeSuccess, 1, 0},
		{dns.TypeNAPTR, dns.RcodeServerFailure, 0, 0},
		{dns.TypeA, dns.RcodeSuccess, 3, 7},
	} {
		m, err := dns.Exchange(from("8.8.8.0/24", "www.cdn.example.", tt.qtype, false), addr)
		if err != nil || m.Rcode != tt.rcode || len(m.Answer) != tt.answers || scope(m) != tt.scope {
			t.Errorf("got %v, %v, want %+v", m, err, tt)
		}
		if tt.qtype == dns.TypeTXT && len(m.IsEdns0().Option) != 2 { // and why
			t.Errorf("the option of acl is gone: %v", m)
		}
	}
	for _, want := range []string{"www.cdn.example. TXT is REFUSED by -", "www.cdn.example. NAPTR is SERVFAIL by -", "www.cdn.example. A is NOERROR by lon"} {
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(log.String(), want); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) { // it is written after the answer
				t.Fatalf("no %q in\n%s", want, log)
			}
		}
	}
}

// A signed query gets a signed answer, which echo has not disturbed.
func TestWithTSIG(t *testing.T) {
	const secret = "c2VjcmV0IG9mIHRoZSB0ZXN0IG9ubHkhISEhISEhISE="
	addr, _ := coredns(t, t.TempDir(), "cdn.example:$PORT {\n\tbind 127.0.0.1\n\ttsig {\n\t\tsecret key.example. "+secret+"\n\t\trequire MX\n\t}"+composed+"}\n")
	ask := func(qtype uint16, secret string) (*dns.Msg, error) {
		m := from("8.8.8.0/24", "www.cdn.example.", qtype, false)
		m.SetTsig("key.example.", dns.HmacSHA256, 300, time.Now().Unix())
		c := dns.Client{TsigSecret: map[string]string{"key.example.": secret}}
		r, _, err := c.Exchange(m, addr)
		return r, err
	}
	for qtype, answers := range map[uint16]int{dns.TypeA: 3, dns.TypeMX: 0} {
		m, err := ask(qtype, secret) // verifies the signature
		if err != nil || m.IsTsig() == nil || len(m.Answer) != answers || scope(m) < 0 {
			t.Errorf("got %v, %v", m, err)
		}
	}
	if m, err := ask(dns.TypeA, "d3Jvbmc="); err == nil && m.Rcode != dns.RcodeNotAuth {
		t.Errorf("with another secret: got %v", m)
	}
	m, err := dns.Exchange(from("8.8.8.0/24", "www.cdn.example.", dns.TypeMX, false), addr)
	if err != nil || m.Rcode != dns.RcodeRefused || scope(m) != 0 {
		t.Errorf("not signed: got %v, %v", m, err)
	}
}

// certificate writes a certificate for localhost and its key into dir.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{{127, 0, 0, 1}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		text := pem.EncodeToMemory(block)
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if block.Type == "CERTIFICATE" && !pool.AppendCertsFromPEM(text) {
			t.Fatal("the certificate is none")
		}
	}
	return pool
}

// The same over TLS, HTTPS and QUIC, an answer and an error.
func TestOverEncryptedTransports(t *testing.T) {
	dir := t.TempDir()
	pool := certificate(t, dir)
	dot, doh, doq := udpPort(t), udpPort(t), udpPort(t)
	keys := fmt.Sprintf("cdn.example:$PORT tls://cdn.example:%d https://cdn.example:%d quic://cdn.example:%d", dot, doh, doq)
	coredns(t, dir, keys+" {\n\tbind 127.0.0.1\n\ttls cert.pem key.pem\n\tacl {\n\t\tblock type TXT\n\t}"+composed+"}\n")
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	for name, exchange := range map[string]func(*dns.Msg) (*dns.Msg, error){
		"tls": func(m *dns.Msg) (*dns.Msg, error) {
			r, _, err := (&dns.Client{Net: "tcp-tls", TLSConfig: config, Timeout: 5 * time.Second}).Exchange(m, fmt.Sprintf("127.0.0.1:%d", dot))
			return r, err
		},
		"https": func(m *dns.Msg) (*dns.Msg, error) { return overHTTPS(m, config, doh) },
		"quic":  func(m *dns.Msg) (*dns.Msg, error) { return overQUIC(t.Context(), m, config, doq) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct {
				name                  string
				qtype                 uint16
				rcode, answers, scope int
			}{
				{"www.cdn.example.", dns.TypeA, dns.RcodeSuccess, 3, 7},
				{"nope.cdn.example.", dns.TypeA, dns.RcodeNameError, 0, 0},
				{"www.cdn.example.", dns.TypeTXT, dns.RcodeRefused, 0, 0},
				{"cdn.example.", dns.TypeIXFR, dns.RcodeRefused, 0, 0},
			} {
				m, err := exchange(from("8.8.8.0/24", tt.name, tt.qtype, false))
				if err != nil || m.Rcode != tt.rcode || len(m.Answer) != tt.answers || scope(m) != tt.scope {
					t.Errorf("%s: got %v, %v", tt.name, m, err)
				}
			}
		})
	}
}

// What does not fit into a packet is truncated there, also with signatures, and nowhere
// else.
func TestTruncation(t *testing.T) {
	dir := t.TempDir()
	pool := certificate(t, dir)
	_, name := signingKey(t, dir)
	var addrs strings.Builder
	for i := range 120 {
		fmt.Fprintf(&addrs, " 192.0.2.%d", i)
	}
	dot, doh, doq := udpPort(t), udpPort(t), udpPort(t)
	keys := fmt.Sprintf("cdn.example:$PORT tls://cdn.example:%d https://cdn.example:%d quic://cdn.example:%d", dot, doh, doq)
	addr, _ := coredns(t, dir, keys+" {\n\tbind 127.0.0.1\n\ttls cert.pem key.pem\n\tdnssec {\n\t\tkey file "+name+
		"\n\t}\n\tgeosched {\n\t\tnode big"+addrs.String()+" 51.5 -0.12\n\t\tsteer www\n\t\tcookies\n\t}\n}\n")
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	for name, exchange := range map[string]func(*dns.Msg) (*dns.Msg, error){
		"udp": func(m *dns.Msg) (*dns.Msg, error) { return dns.Exchange(m, addr) },
		"tcp": func(m *dns.Msg) (*dns.Msg, error) {
			r, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(m, addr)
			return r, err
		},
		"tls": func(m *dns.Msg) (*dns.Msg, error) {
			r, _, err := (&dns.Client{Net: "tcp-tls", TLSConfig: config, Timeout: 5 * time.Second}).Exchange(m, fmt.Sprintf("127.0.0.1:%d", dot))
			return r, err
		},
		"https": func(m *dns.Msg) (*dns.Msg, error) { return overHTTPS(m, config, doh) },
		"quic":  func(m *dns.Msg) (*dns.Msg, error) { return overQUIC(t.Context(), m, config, doq) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, do := range []bool{false, true} {
				q := from("8.8.8.0/24", "www.cdn.example.", dns.TypeA, do)
				q.IsEdns0().SetUDPSize(4096)
				q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "2464c4abcf10c957"})
				m, err := exchange(q)
				if err != nil {
					t.Fatal(err)
				}
				want := 120
				if do {
					want++ // the signature
				}
				m.Compress = true
				wire, err := m.Pack()
				if err != nil || m.Truncated != (name == "udp") || m.Truncated != (len(m.Answer) < want) || m.Truncated && len(wire) > 1232 {
					t.Errorf("DO %v: TC is %v with %d records in %d bytes, %v", do, m.Truncated, len(m.Answer), len(wire), err)
				}
				if opt := m.IsEdns0(); scope(m) != 7 || len(opt.Option) != 2 {
					t.Errorf("DO %v: got %v", do, opt)
				}
			}
		})
	}
}

func overHTTPS(m *dns.Msg, config *tls.Config, port int) (*dns.Msg, error) {
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	resp, err := client.Post(fmt.Sprintf("https://127.0.0.1:%d/dns-query", port), "application/dns-message", bytes.NewReader(wire))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	r := new(dns.Msg)
	return r, r.Unpack(body)
}

func overQUIC(ctx context.Context, m *dns.Msg, config *tls.Config, port int) (*dns.Msg, error) {
	m.Id = 0 // RFC 9250, section 4.2.1
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	config = config.Clone()
	config.NextProtos = []string{"doq"}
	conn, err := quic.DialAddr(ctx, fmt.Sprintf("127.0.0.1:%d", port), config, nil)
	if err != nil {
		return nil, err
	}
	defer conn.CloseWithError(0, "")
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)); err != nil {
		return nil, err
	}
	if err := stream.Close(); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(stream)
	if err != nil || len(body) < 2 {
		return nil, fmt.Errorf("%d bytes: %w", len(body), err)
	}
	r := new(dns.Msg)
	return r, r.Unpack(body[2:])
}
