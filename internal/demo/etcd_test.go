package demo

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// A link that is cut ends what is open and lets nobody through until it is healed.
func TestLink(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(conn, conn)
		}
	}()
	k, err := newLink(l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	dial := func() (net.Conn, error) {
		conn, err := net.Dial("tcp", k.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "hello\n")
		_, err = bufio.NewReader(conn).ReadString('\n')
		return conn, err
	}
	open, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	k.setCut(true)
	if n, err := open.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes come through a link that is cut", n)
	}
	if _, err := dial(); err == nil {
		t.Error("a new connection goes through a link that is cut")
	}
	k.setCut(false)
	if _, err := dial(); err != nil {
		t.Errorf("a link that is healed: %v", err)
	}
}

// The two name servers differ in every address, in their name and in how they reach etcd.
func TestSecondCorefile(t *testing.T) {
	a, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(localhost, port) }
	s := &stage{addresses: a, dir: t.TempDir(), sharing: &sharing{
		hub: at(1), dns: at(2), ready: at(3), endpoints: [2]string{"http://127.0.0.1:4", "http://127.0.0.1:5"},
	}}
	if err := s.writeConfigs("", time.Second); err != nil {
		t.Fatal(err)
	}
	for file, wants := range map[string][]string{
		"Corefile":      {"cdn.example:" + strings.TrimPrefix(a.dns.String(), "127.0.0.1:") + " {", "feed etcd http://127.0.0.1:4 prober dns-1", "feed listen " + a.hub.String(), "feed state feed.json"},
		"Corefile-2":    {"cdn.example:2 {", "ready 127.0.0.1:3\n", "feed etcd http://127.0.0.1:5 prober dns-2", "feed listen 127.0.0.1:1\n", "feed state feed-2.json"},
		"lon.Caddyfile": {"from http://" + a.hub.String() + " http://127.0.0.1:1\n"},
	} {
		text, err := os.ReadFile(s.path(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q:\n%s", file, want, text)
			}
		}
		if strings.Contains(string(text), "nodes.json") {
			t.Errorf("%s has nodes of its own:\n%s", file, text)
		}
	}
}

func TestVoters(t *testing.T) {
	page := `{"nodes": [{"id": "lon", "state": "up", "reason": "2 of 2 probers"}, {"id": "sea", "state": "up", "reason": "2 of 2 probers"}, {"id": "bei", "state": "%s", "reason": "2 of 2 probers"}]}`
	state := "up"
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Replace(page, "%s", state, 1))
	}))
	defer hub.Close()
	addr := netip.MustParseAddrPort(strings.TrimPrefix(hub.URL, "http://"))
	if err := voters(addr, 2); err != nil {
		t.Error(err)
	}
	if voters(addr, 1) == nil {
		t.Error("two votes are taken for one")
	}
	if state = "down"; voters(addr, 2) == nil {
		t.Error("a node that is down is taken for one that is up")
	}
	s := &stage{addresses: &addresses{hub: addr}, sharing: &sharing{hub: addr}}
	if got := s.votes(); got != "dns-1: 2 of 2, dns-2: 2 of 2" {
		t.Errorf("the votes are %q", got)
	}
}
