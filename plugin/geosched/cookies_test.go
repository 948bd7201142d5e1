package geosched

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const clientHalf = "2464c4abcf10c957"

// withCookie adds a COOKIE option, in hexadecimal.
func withCookie(m *dns.Msg, cookie string) *dns.Msg {
	if m.IsEdns0() == nil {
		m.SetEdns0(1232, false)
	}
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	return m
}

// cookieIn returns the COOKIE option of an answer, and how many there are.
func cookieIn(m *dns.Msg) (cookie string, n int) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_COOKIE); ok {
				cookie = e.Cookie
				n++
			}
		}
	}
	return cookie, n
}

func secretFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Over a socket: every answer of the zone has a whole cookie, of whoever it is, and
// whoever sends none or a malformed one gets none.
func TestCookieOnTheWire(t *testing.T) {
	inst := start(t, strings.Replace("any"+withHosts, "fallthrough", "cookies "+secretFile(t, "e5e973e5a6b2a43f48e7dc849e37bfcf\n")+"\nfallthrough", 1))
	for name, qtype := range map[string]uint16{"www": dns.TypeA, "static": dns.TypeA, "nope": dns.TypeA, "any": dns.TypeANY} {
		r := ask(t, inst, withCookie(question(name+".cdn.example.", qtype, "8.8.8.0/24"), clientHalf))
		first, n := cookieIn(r)
		if n != 1 || len(first) != 48 || !strings.HasPrefix(first, clientHalf+"01000000") || len(r.IsEdns0().Option) != 2 {
			t.Fatalf("%s: got %v", name, r)
		}
		again, n := cookieIn(ask(t, inst, withCookie(question(name+".cdn.example.", qtype, ""), first)))
		if n != 1 || len(again) != 48 || !strings.HasPrefix(again, clientHalf) {
			t.Errorf("%s, with that: got %s", name, again)
		}
		if _, n := cookieIn(ask(t, inst, question(name+".cdn.example.", qtype, "8.8.8.0/24"))); n != 0 {
			t.Errorf("%s: a cookie for nobody", name)
		}
	}
	for _, length := range []int{0, 7, 9, 15, 41, 100} {
		r := ask(t, inst, withCookie(question("www.cdn.example.", dns.TypeA, ""), hex.EncodeToString(make([]byte, length))))
		if _, n := cookieIn(r); r.Rcode != dns.RcodeFormatError || n != 0 {
			t.Errorf("%d bytes: got %v", length, r)
		}
	}
	for _, length := range []int{16, 17, 39, 40} { // of another make
		r := ask(t, inst, withCookie(question("www.cdn.example.", dns.TypeA, ""), hex.EncodeToString(make([]byte, length))))
		if cookie, n := cookieIn(r); r.Rcode != dns.RcodeSuccess || n != 1 || len(cookie) != 48 {
			t.Errorf("%d bytes: got %v", length, r)
		}
	}
	// Of several the first counts (RFC 7873, section 5.2).
	r := ask(t, inst, withCookie(withCookie(question("www.cdn.example.", dns.TypeA, ""), clientHalf), "00"))
	if cookie, n := cookieIn(r); n != 1 || !strings.HasPrefix(cookie, clientHalf) {
		t.Errorf("two cookies: got %v", r)
	}
}

// Without the word there are no cookies, and none comes back as it went.
func TestCookieOff(t *testing.T) {
	inst := start(t, withHosts)
	for _, name := range []string{"www", "static"} {
		r := ask(t, inst, withCookie(question(name+".cdn.example.", dns.TypeA, ""), clientHalf))
		if _, n := cookieIn(r); n != 0 || r.Rcode != dns.RcodeSuccess {
			t.Errorf("got %v", r)
		}
	}
}

// With cookies and without the client subnet, and in an answer that is truncated.
func TestCookieWithoutECS(t *testing.T) {
	g := serving(t, three+"steer www\nanswers 8\necs off\ncookies")
	r := serve(t, g, withCookie(question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"), clientHalf), resolver)
	if _, n := cookieIn(r); n != 1 || len(r.IsEdns0().Option) != 1 {
		t.Errorf("got %v", r)
	}
}

// A cookie exempts from the limit whoever has received it at its address, whatever
// secret it was made with of those that we know.
func TestCookieRateLimit(t *testing.T) {
	file := secretFile(t, "dd3bdf9344b678b185a6f5cb60fca715")
	g := serving(t, three+"steer www\nratelimit address 1 refused\ncookies "+file)
	now := time.Now()
	g.limit.now = func() time.Time { return now }
	g.cookies.now = func() time.Time { return now }
	count := func(result string) float64 { return testutil.ToFloat64(cookiesSeen.WithLabelValues(result)) }
	asked := func(cookie, from string) *dns.Msg {
		m := question("www.cdn.example.", dns.TypeA, "")
		if cookie != "" {
			withCookie(m, cookie)
		}
		return serve(t, g, m, from)
	}
	first := asked(clientHalf, resolver)
	cookie, _ := cookieIn(first)
	refusal := asked(clientHalf, resolver)
	if learnt, n := cookieIn(refusal); refusal.Rcode != dns.RcodeRefused || n != 1 || len(learnt) != 48 {
		t.Fatalf("who is limited has to learn a cookie: got %v", refusal)
	}
	before := count("valid")
	for range 10 {
		if r := asked(cookie, resolver); r.Rcode != dns.RcodeSuccess {
			t.Fatalf("limited in spite of the cookie: %v", r)
		}
	}
	if n := count("valid") - before; n != 10 {
		t.Errorf("%v valid ones counted", n)
	}
	asked("", "198.51.100.9")
	if r := asked(cookie, "198.51.100.9"); r.Rcode != dns.RcodeRefused {
		t.Errorf("somebody else's cookie: got %v", r)
	}
	if r := asked(cookie[:46]+"00", resolver); r.Rcode != dns.RcodeRefused {
		t.Errorf("a guessed cookie: got %v", r)
	}

	// The secret is rolled over: the new one signs, the old one still verifies.
	next := secretFile(t, "445536bcd2513298075a5d379663c962")
	rolled := &cookies{files: []string{next, file}, now: g.cookies.now}
	if err := rolled.load(); err != nil {
		t.Fatal(err)
	}
	g.cookies = rolled
	if r := asked(cookie, resolver); r.Rcode != dns.RcodeSuccess {
		t.Errorf("old secret: got %v", r)
	}
	now = now.Add(61 * time.Minute)
	g.limit.now = func() time.Time { return now.Add(-61 * time.Minute) }
	if r := asked(cookie, resolver); r.Rcode != dns.RcodeRefused {
		t.Errorf("after an hour: got %v", r)
	}
}

// The secret in memory, and with it the clients' cookies, outlives a reload; a
// file is followed, and one that is wrong leaves the secret that was.
func TestCookieReload(t *testing.T) {
	block := func(more string) caddy.Input {
		return corefile(strings.Replace(withHosts, "fallthrough", "cookies\nfallthrough\n", 1) + more)
	}
	inst, err := caddy.Start(block(""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { stop(t, inst) }()
	before := testutil.ToFloat64(cookiesSeen.WithLabelValues("valid"))
	cookie, _ := cookieIn(ask(t, inst, withCookie(question("www.cdn.example.", dns.TypeA, ""), clientHalf)))
	if inst, err = inst.Restart(block("\n\tlog")); err != nil {
		t.Fatal(err)
	}
	ask(t, inst, withCookie(question("www.cdn.example.", dns.TypeA, ""), cookie))
	if n := testutil.ToFloat64(cookiesSeen.WithLabelValues("valid")) - before; n != 1 {
		t.Errorf("%v valid cookies after a reload", n)
	}
}

func TestCookieFiles(t *testing.T) {
	file := secretFile(t, "dd3bdf9344b678b185a6f5cb60fca715")
	synctest.Test(t, func(t *testing.T) {
		p, h := new(pool), new(holder)
		c, err := holdCookies(p, h, []string{file})
		if err != nil {
			t.Fatal(err)
		}
		defer synctest.Wait()
		defer p.release(h)
		first := (*c.secrets.Load())[0]
		for _, tt := range []struct {
			text    string
			changes bool
		}{{"nonsense", false}, {"445536bcd2513298075a5d379663c962", true}, {"", false}} {
			before := (*c.secrets.Load())[0]
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * lookInterval())
			synctest.Wait()
			if after := (*c.secrets.Load())[0]; (after != before) != tt.changes {
				t.Errorf("%q: changed: %v", tt.text, after != before)
			}
		}
		if (*c.secrets.Load())[0] == first {
			t.Error("nothing changed in the end")
		}
	})
	for text, want := range map[string]string{"nonsense": "a cookie secret is 32 hexadecimal digits", "missing": "no such file"} {
		file := filepath.Join(t.TempDir(), "missing")
		if text != "missing" {
			file = secretFile(t, text)
		}
		cfg, err := block(three + "steer www\ncookies " + file)
		if err != nil {
			t.Fatal(err)
		}
		err = newGeosched(cfg).start(new(pool), new(holder))
		if err == nil || !strings.HasPrefix(err.Error(), "Testfile:6 - "+file) && !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
