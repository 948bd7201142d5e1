package edgecache

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// More attacks, on what stands around the cache: other sites with the same
// store, handlers before and after it, and the users that they find.

// A site on another port must not be made to fill this one's store by the name
// of this one in Host.
func TestSecurityOtherListener(t *testing.T) {
	e := newEdge(t, site, echoed)
	other := freeAddr(t)
	_, port, _ := net.SplitHostPort(other)
	sites := site + "\nhttp://:" + port + " {\nbind 127.0.0.1\nedgecache\nreverse_proxy %[2]s {\nheader_up X-Device " + poison + "\n}\n}"
	if err := e.load("servers {\nprotocols h1 h2c\n}", strings.Replace(sites, "reverse_proxy %s", "reverse_proxy %[2]s", 1)); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", other)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: "+e.addr+"\r\nConnection: close\r\n\r\n")
	answer, _ := io.ReadAll(conn)
	if !strings.Contains(string(answer), poison) {
		t.Fatalf("the other site answered %s", answer)
	}
	stored(t, 1)
	e.clean("/a")
	stored(t, 2)
	// What one site changes is the other's business no more.
	e.send("DELETE", "/a")
	stored(t, 1)
	if r := e.get("/a"); strings.Contains(r.cacheStatus(), "; hit") {
		t.Error(r.cacheStatus())
	}
}

// Behind a port that others see under another number all is as always.
func TestMappedPort(t *testing.T) {
	e := newEdge(t, site, echoed)
	e.addr = freeAddr(t) // where no listener of the configuration before is about to close
	_, port, _ := net.SplitHostPort(e.addr)
	if err := e.load("servers {\nprotocols h1 h2c\n}", "http://:"+port+" {\nedgecache\nreverse_proxy %[2]s\n}\n# %[1]s"); err != nil {
		t.Fatal(err)
	}
	ask := func(method, path string) string {
		return e.raw(method + " " + path + " HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
	}
	ask("GET", "/a")
	ask("GET", "/b")
	stored(t, 2)
	if got := ask("GET", "/a"); !strings.Contains(got, "; hit") {
		t.Error(got)
	}
	var found []objectJSON
	if code := admin(t, "GET", "/edgecache/object?url=http://shop.example/a", &found); code != 200 || len(found) != 1 ||
		found[0].Key != "http://shop.example/a; listener="+port {
		t.Errorf("%d %+v", code, found)
	}
	e.origin.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Location", "/b") })
	ask("POST", "/a")
	stored(t, 0)
}

// What is left out of the key is left out also where an earlier handler has
// changed the target, and the origin server learns of it by no placeholder.
func TestKeyOfRewrittenTargets(t *testing.T) {
	for name, before := range map[string]string{
		"handle_path": "handle_path /p/* {", "strip_prefix": "route {\nuri strip_prefix /p", "rewrite": "route {\nrewrite * /all?{query}",
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, "\nhttp://%[1]s {\n"+before+`
		edgecache {
			key {
				query ignore utm_*
				query sort
			}
		}
		reverse_proxy %[2]s {
			header_up X-Device "{http.request.uri} {http.request.orig_uri} {http.request.orig_uri.query} {http.request.orig_method}"
		}
	}
}`, echoed)
			want := e.get("/p/%7ea?b=1&a=2&utm_x=" + poison).body
			if strings.Contains(want, poison) || !strings.Contains(want, " /p/~a?a=2&b=1 a=2&b=1 GET]") {
				t.Errorf("the origin server saw %q", want)
			}
			stored(t, 1)
			for _, same := range []string{"/p/~a?a=2&b=1", "/p/~%61?utm_y=1&b=1&&a=2"} {
				if r := e.get(same); r.body != want || !strings.Contains(r.cacheStatus(), "; hit") {
					t.Errorf("%s: %q %s", same, r.body, r.cacheStatus())
				}
			}
			for _, other := range []string{"/p/~b?a=2&b=1", "/p/~a?a=3&b=1", "/p/~a"} {
				if r := e.get(other); r.body == want || strings.Contains(r.cacheStatus(), "; hit") {
					t.Errorf("%s: %q %s", other, r.body, r.cacheStatus())
				}
			}
		})
	}
}

// Two ways to write one target reach placeholders as one.
func TestSecurityTargetForms(t *testing.T) {
	e := newEdge(t, `
http://%[1]s {
	edgecache
	reverse_proxy %[2]s {
		header_up X-Device "{http.request.orig_uri} {http.request.uri}"
	}
}`, echoed)
	ask := func(target string) string {
		return e.raw("GET " + target + " HTTP/1.1\r\nHost: " + e.addr + "\r\nConnection: close\r\n\r\n")
	}
	for i, forms := range [][]string{
		{"http://" + e.addr + "/a", "/a"}, {"http://" + poison + "@" + e.addr + "/b", "/b"}, {`/c"`, "/c%22"}, {"/d#" + poison, "/d%23" + poison},
		{"http://" + e.addr, "/"}, {"HTTPS://" + e.addr + "/e", "/e"},
	} {
		first := ask(forms[0])
		if !strings.Contains(first, "device=["+forms[1]+" "+forms[1]+"]") {
			t.Errorf("%s: %s", forms[0], first)
		}
		stored(t, int64(i+1))
		if got := ask(forms[1]); !strings.Contains(got, "; hit") {
			t.Errorf("%s after %s: %s", forms[1], forms[0], got)
		}
	}
}

// A user that forward_auth has found is one although there is no Authorization.
func TestSecurityForwardAuthUser(t *testing.T) {
	for options, shared := range map[string]bool{"": false, "authenticated ignore": true} {
		e := newEdge(t, `
http://%[1]s {
	forward_auth %[2]s {
		uri          /check
		copy_headers Remote-User
	}
	edgecache {
		`+options+`
	}
	reverse_proxy %[2]s
}`, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/check" {
				w.Header().Set("Remote-User", r.Header.Get("X-Session"))
				return
			}
			w.Header().Set("Content-Type", "application/json")
			cacheable(w, "for "+r.Header.Get("Remote-User"))
		})
		e.get("/api/me", "X-Session", "alice")
		if shared {
			stored(t, 1)
		}
		if r := e.get("/api/me", "X-Session", "bob"); (r.body == "for alice") != shared {
			t.Errorf("%s: bob got %q, %s", options, r.body, r.cacheStatus())
		}
	}
}

// Fields that a Connection field names end at the edge: nothing is selected,
// stored or answered by what the origin server does not see.
func TestSecurityHopByHop(t *testing.T) {
	e := newEdge(t, siteWith("key {", "header X-Device", "}"), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Cookie")
		echoed(w, r)
	})
	e.get("/", "X-Device", "phone", "Cookie", "a=1")
	stored(t, 1)
	for _, option := range []string{"Cookie", "X-Device", "Age", "Cache-Control", "close, x-device", "Cache-Status", "Set-Cookie", "Host", "Via"} {
		got := e.raw("GET / HTTP/1.1\r\nHost: " + e.addr + "\r\nX-Device: phone\r\nCookie: a=1\r\nConnection: " + option + "\r\nConnection: close\r\n\r\n")
		if !strings.Contains(got, "detail=connection") || strings.Contains(got, "; hit") {
			t.Errorf("%s: %s", option, got)
		}
	}
	if n := theState(t).store.Objects(); n != 1 {
		t.Errorf("%d stored", n)
	}
	// Of a response it is the origin server's word, and takes nothing else along.
	e.origin.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "X-Hop, Age, Cache-Status")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("X-End", "1")
		cacheable(w, "x")
	})
	for range 2 {
		r := e.get("/hop")
		if r.header.Get("X-Hop") != "" || r.header.Get("X-End") != "1" || r.cacheStatus() == "" {
			t.Error(r.header)
		}
		stored(t, 2)
	}
}

// The first cache in the way of a request is the one that has it.
func TestFirstOfSeveralCaches(t *testing.T) {
	e := newEdge(t, site, echoed)
	two := `
http://%[1]s {
	@images path /images/*
	edgecache @images {
		name  images
		store images
	}
	edgecache
	reverse_proxy %[2]s
}`
	if err := e.load("edgecache {\nstore images\n}\nservers {\nprotocols h1 h2c\n}", two); err != nil {
		t.Fatal(err)
	}
	objects := func(name string) (n int64) {
		states.Range(func(key, v any) bool {
			if key == name {
				n = v.(*state).store.Objects()
			}
			return true
		})
		return n
	}
	e.get("/images/a")
	eventually(t, "stored", func() bool { return objects("images") == 1 })
	if r := e.get("/images/a"); !strings.HasPrefix(r.cacheStatus(), "images; hit; ttl=5") {
		t.Error(r.cacheStatus())
	}
	e.want(e.send("POST", "/images/b"), 200, "images; fwd=method", 2)
	e.want(e.get("/images/c", "Range", "bytes=0-1,3-4"), 200, "images; fwd=bypass; detail=range", 3)
	if n := objects(defaultStore); n != 0 {
		t.Errorf("%d in the store of the second", n)
	}
	if r := e.get("/page"); !strings.HasPrefix(r.cacheStatus(), "edgecache; fwd=uri-miss") {
		t.Error(r.cacheStatus())
	}
}

// A token may come from the environment or a file, and is none if it is not there.
func TestDebugTokenOfPlaceholder(t *testing.T) {
	t.Setenv("EDGECACHE_TEST_TOKEN", "correct-horse")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("correct-horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"{env.EDGECACHE_TEST_TOKEN}", "{file." + file + "}"} {
		e := newEdge(t, siteWith("status_header debug "+word), echoed)
		if r := e.get("/a", debugField, word); strings.Contains(r.cacheStatus(), "key=") {
			t.Errorf("the word itself is the token: %s", r.cacheStatus())
		}
		if r := e.get("/a", debugField, "correct-horse"); !strings.Contains(r.cacheStatus(), "key=") {
			t.Errorf("%s: %s", word, r.cacheStatus())
		}
	}
	for word, want := range map[string]string{"{env.EDGECACHE_NO_TOKEN}": "EDGECACHE_NO_TOKEN", "{x.some_long_word}": "x.some_long_word"} {
		text := fmt.Sprintf("{\nadmin off\n}\nhttp://localhost:1 {\nedgecache {\nstatus_header debug %s\n}\n}", word)
		if err := loadCaddyfile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// A lifetime that nobody named is for nobody's account, whatever says whose it is.
func TestSecurityTokensAndDefaultTTL(t *testing.T) {
	e := newEdge(t, siteWith("default_ttl 1h", "key {", "header X-Tenant-Token", "}"), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, r.Header["X-Api-Key"], r.Header["X-Session"], r.Header["X-Tenant-Token"])
	})
	for i, name := range []string{"X-Api-Key", "X-Session"} {
		e.get(fmt.Sprint("/", i), name, poison)
		e.clean(fmt.Sprint("/", i))
		e.clean(fmt.Sprint("/", i), name, "mine")
	}
	stored(t, 2)
	e.get("/tenant", "X-Tenant-Token", "a") // is in the key
	stored(t, 3)
	e.clean("/tenant", "X-Tenant-Token", "b")
}

// A field that the operator puts in the key reaches the origin server, also
// one that others must not send.
func TestKeyFieldIsForwarded(t *testing.T) {
	e := newEdge(t, siteWith("key {", "header X-Forwarded-Prefix X-Original-Url", "}"), reflects("X-Forwarded-Prefix", "X-Original-Url"))
	if r := e.get("/", "X-Forwarded-Prefix", "/a", "X-Original-Url", "/b"); !strings.HasSuffix(r.body, "|/a|/b|") {
		t.Errorf("%q", r.body)
	}
	stored(t, 1)
	e.want(e.get("/", "X-Forwarded-Prefix", "/c"), 200, "edgecache; fwd=uri-miss; stored", 2)
}

// Caddy takes a name with a final dot for another: the site for all other names
// must not be made to fill the store for the one that has the name.
func TestSecurityFinalDot(t *testing.T) {
	e := newEdge(t, site, echoed)
	e.addr = freeAddr(t) // where no listener of the configuration before is about to close
	_, port, _ := net.SplitHostPort(e.addr)
	sites := "http://shop.example:" + port + " {\nedgecache\nreverse_proxy %[2]s\n}\n" +
		"http://:" + port + " {\nedgecache\nreverse_proxy %[2]s {\nheader_up X-Device " + poison + "\n}\n}\n# %[1]s"
	if err := e.load("servers {\nprotocols h1 h2c\n}", sites); err != nil {
		t.Fatal(err)
	}
	for i, host := range []string{"shop.example.", "shop.example..", "SHOP.example.:" + port, "shop.example.:", "shop.example.:80"} {
		ask := func(host string) string {
			return e.raw(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", i, host))
		}
		if got := ask(host); !strings.Contains(got, poison) {
			t.Fatalf("%s: the site for all others is not asked: %s", host, got)
		}
		stored(t, int64(2*i+1))
		if got := ask("shop.example"); strings.Contains(got, poison) {
			t.Errorf("after %s: %s", host, got)
		}
		stored(t, int64(2*i+2))
	}
}

// What comes to a socket is for that socket, whatever host it names.
func TestSocketOfAListener(t *testing.T) {
	e := newEdge(t, site, echoed)
	socket := filepath.Join(t.TempDir(), "s")
	both := strings.Replace(site, "reverse_proxy %s", "reverse_proxy %[2]s", 1) +
		"\nhttp://:1 {\nbind unix/" + socket + "\nedgecache\nreverse_proxy %[2]s {\nheader_up X-Device " + poison + "\n}\n}"
	if err := e.load("servers {\nprotocols h1 h2c\n}", both); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: "+e.addr+"\r\nConnection: close\r\n\r\n")
	if answer, _ := io.ReadAll(conn); !strings.Contains(string(answer), poison) {
		t.Fatalf("the socket answered %s", answer)
	}
	stored(t, 1)
	e.clean("/a")
	stored(t, 2)
	var found []objectJSON
	if code := admin(t, "GET", "/edgecache/object?url=http://"+e.addr+"/a", &found); code != 200 || len(found) != 2 {
		t.Errorf("%d %+v", code, found)
	}
}
