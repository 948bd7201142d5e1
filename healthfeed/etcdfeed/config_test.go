package etcdfeed

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestConfig(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, "no etcd endpoint"},
		{Config{Endpoints: []string{"127.0.0.1:2379"}}, `bad etcd url "127.0.0.1:2379"`},
		{Config{Endpoints: []string{"ftp://127.0.0.1:2379"}}, `bad etcd url "ftp://127.0.0.1:2379": want http://host:port`},
		{Config{Endpoints: []string{"http://127.0.0.1"}}, `it has no port`},
		{Config{Endpoints: []string{"http://u:p@127.0.0.1:2379"}}, `"http://…@127.0.0.1:2379": a URL stands in logs`},
		{Config{Endpoints: []string{"http://127.0.0.1:2379/v3"}}, `more in it than a host and a port`},
		{Config{Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: "/a b"}, `etcd prefix "/a b"`},
		{Config{Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: "/a/"}, `etcd prefix "/a/"`},
		{Config{Endpoints: []string{"http://127.0.0.1:2379"}, Prober: "a/b"}, `prober "a/b"`},
		{Config{Endpoints: []string{"http://127.0.0.1:2379"}, User: "dns", PasswordFile: "/nonexistent/p"}, `/nonexistent/p`},
		{Config{Endpoints: []string{"http://127.0.0.1:2379"}, User: "dns", PasswordFile: empty}, `the password is empty`},
		{Config{Endpoints: []string{"https://[::1]:2379", "https://etcd.example.net:2379/"}, Prefix: "/cdn/v1", Prober: "dns-1"}, ""},
	} {
		_, err := New(test.config)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v, want %q", test.config, err, test.want)
		}
	}
}

// Five hundred clients that lose a member together come back fewer than fifty in a
// second, for as long as it is away. The first connection waits for nobody, nor do attempts
// before it: who starts together with its etcd is not late.
func TestReturnIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 500
		var mu sync.Mutex
		perSecond := make(map[int]int)
		began := time.Now()
		down := errors.New("not connected")
		open := func(context.Context, string, string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			perSecond[int(time.Since(began)/time.Second)]++
			if down != nil {
				return nil, down
			}
			conn, _ := net.Pipe()
			return conn, nil
		}
		dialers := make([]*dialer, clients)
		for i := range dialers {
			dialers[i] = &dialer{spread: usualPace.spread, open: open}
			dialers[i].dial(t.Context(), "192.0.2.1:2379")
		}
		err := down
		down = nil
		for _, d := range dialers {
			d.dial(t.Context(), "192.0.2.1:2379")
		}
		down = err
		if time.Since(began) != 0 || perSecond[0] != 2*clients {
			t.Fatalf("after %v: %v", time.Since(began), perSecond)
		}
		clear(perSecond)
		var wg sync.WaitGroup
		for _, d := range dialers {
			wg.Go(func() { d.dial(t.Context(), "192.0.2.1:2379") })
		}
		wg.Wait()
		total := 0
		for second, n := range perSecond {
			if total += n; n >= 50 {
				t.Errorf("second %d: %d connections", second, n)
			}
		}
		if total != clients || time.Since(began) > usualPace.spread {
			t.Errorf("%d connections in %v", total, time.Since(began))
		}
	})
}

func TestPackIsBounded(t *testing.T) {
	for _, n := range []int{0, packAbove, packAbove + 1, 1 << 20} {
		data := bytes.Repeat([]byte("{"), n)
		packed := pack(data)
		if n <= packAbove && !bytes.Equal(packed, data) || n > packAbove && len(packed) > n/10 {
			t.Errorf("%d bytes become %d", n, len(packed))
		}
		if got, err := unpack(packed); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes come back as %d: %v", n, len(got), err)
		}
	}
	bomb := pack(bytes.Repeat([]byte(" "), healthfeed.MaxSnapshot+1))
	if _, err := unpack(bomb); err == nil {
		t.Errorf("%d bytes that become more than %d are taken", len(bomb), healthfeed.MaxSnapshot)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte(`{"records":[]}`))
	f.Add(pack(bytes.Repeat([]byte("a"), packAbove+1)))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := unpack(data)
		if err != nil {
			return
		}
		if len(out) > healthfeed.MaxSnapshot {
			t.Fatalf("%d bytes", len(out))
		}
		if bytes.HasPrefix(out, []byte{0x1f, 0x8b}) {
			return // packed twice
		}
		if again, err := unpack(pack(out)); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q comes back as %q: %v", out, again, err)
		}
	})
}

func TestNotice(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for text, want := range map[string]string{
		`{"kind": "geoip", "version": "7", "sha256": "` + sum + `"}`: "",
		`{"kind": "geoip", "sha256": "` + sum + `"}`:                 "",
		`{"kind": "asn", "sha256": "` + sum + `"}`:                   `the notice of kind "asn" stands under "geoip"`,
		`{"kind": "geoip", "sha256": "AB"}`:                          `sha256 "AB" is not 64`,
		`{"kind": "geoip", "sha": "` + sum + `"}`:                    `unknown field "sha"`,
		`{"kind": "geoip", "version": 7}`:                            `7`,
		`[]`:                                                         `an object`,
		``:                                                           `line 1`,
	} {
		_, err := parseNotice("geoip", []byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := parseNotice("cookies", []byte(`{"kind": "cookies", "sha256": "`+sum+`"}`)); err == nil {
		t.Error("a kind that nobody knows is taken")
	}
}

func FuzzNotice(f *testing.F) {
	f.Add(`{"kind": "geoip", "version": "7", "sha256": "` + strings.Repeat("ab", 32) + `"}`)
	f.Add(`{"kind": "geoip"`)
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseNotice("geoip", []byte(text)); err == nil && (n.Kind != "geoip" || len(n.SHA256) != 64) {
			t.Fatalf("%q is taken as %+v", text, n)
		}
	})
}
