package healthfeed

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ask sends one request to a hub; headers are "Name: value".
func ask(h http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	do(t, err)
	return string(data)
}

func TestHubMethodsAndPaths(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	h := NewHub(f)
	for _, test := range []struct {
		method, target string
		status         int
		kind, allow    string
	}{
		{"GET", "/v1/feed", 200, "application/json", ""},
		{"HEAD", "/v1/feed", 200, "application/json", ""},
		{"GET", "/v1/feed?x=1", 200, "application/json", ""},
		{"GET", "/v1/nodes", 200, "text/plain; charset=utf-8", ""},
		{"HEAD", "/v1/nodes", 200, "text/plain; charset=utf-8", ""},
		{"GET", "/v1/nodes?format=json", 200, "application/json", ""},
		{"GET", "/v1/nodes?format=html", 200, "text/html; charset=utf-8", ""},
		{"HEAD", "/v1/nodes?format=html", 200, "text/html; charset=utf-8", ""},
		{"GET", "/v1/nodes?format=text", 200, "text/plain; charset=utf-8", ""},
		{"POST", "/v1/feed", 405, "text/plain; charset=utf-8", "GET, HEAD"},
		{"DELETE", "/v1/nodes", 405, "text/plain; charset=utf-8", "GET, HEAD"},
		{"GET", "/", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/v1/feed/", 404, "text/plain; charset=utf-8", ""},
		{"POST", "/v1/other", 404, "text/plain; charset=utf-8", ""},
	} {
		r := ask(h, test.method, test.target)
		if r.StatusCode != test.status || r.Header.Get("Content-Type") != test.kind || r.Header.Get("Allow") != test.allow {
			t.Errorf("%s %s: %d, %q, allow %q", test.method, test.target, r.StatusCode, r.Header.Get("Content-Type"), r.Header.Get("Allow"))
		}
		got := body(t, r)
		if test.method == "HEAD" && (got != "" || r.Header.Get("Content-Length") == "") {
			t.Errorf("%s %s: body %q, length %q", test.method, test.target, got, r.Header.Get("Content-Length"))
		}
		if test.method == "GET" && test.status == 200 && got == "" {
			t.Errorf("%s %s: no body", test.method, test.target)
		}
	}
	if r := ask(h, "GET", "/v1/nodes", "Accept: application/json"); r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Vary") != "Accept, Accept-Encoding" {
		t.Errorf("accept: %v", r.Header)
	}
}

// The tag changes exactly with the inventory or a record's place in the order.
func TestHubETag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := Open(Config{Log: quiet})
		do(t, err)
		h := NewHub(f)
		etag := func() string {
			time.Sleep(2 * time.Second) // the ages move on
			return ask(h, "GET", "/v1/feed").Header.Get("ETag")
		}
		last := etag()
		if !strings.HasPrefix(last, `W/"`) || !strings.HasSuffix(last, `"`) {
			t.Fatalf("%s is not a weak tag", last)
		}
		step := func(name string, s *Snapshot, changes bool) {
			t.Helper()
			do(t, f.Offer(s))
			got := etag()
			if (got != last) != changes {
				t.Errorf("%s: %s, then %s", name, last, got)
			}
			last = got
		}
		r := func(epoch int64, seq uint64) *Snapshot {
			r := says("p", seq, map[string]State{"a": Up})
			r.Epoch = epoch
			return &Snapshot{Records: []Aged{{Record: r}}}
		}
		step("inventory", &Snapshot{Inventory: watched(t, "a")}, true)
		step("same inventory", &Snapshot{Inventory: watched(t, "a")}, false)
		step("record", r(1, 1), true)
		step("same record", r(1, 1), false)
		step("seq", r(1, 2), true)
		step("older", r(1, 1), false)
		step("epoch", r(2, 1), true)
		step("other inventory", &Snapshot{Inventory: watched(t, "a", "b")}, true)

		for _, field := range []string{last, strings.TrimPrefix(last, "W/"), `"x", ` + last, "*"} {
			r := ask(h, "GET", "/v1/feed", "If-None-Match: "+field)
			if r.StatusCode != http.StatusNotModified || body(t, r) != "" || r.Header.Get("ETag") != last {
				t.Errorf("If-None-Match: %s: %d, %v", field, r.StatusCode, r.Header)
			}
		}
		if r := ask(h, "GET", "/v1/feed", `If-None-Match: "x"`); r.StatusCode != http.StatusOK {
			t.Errorf("another tag: %d", r.StatusCode)
		}
	})
}

func TestHubFeedIsASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := watched(t, "a")
		f, err := Open(Config{Inventory: inv, Log: quiet})
		do(t, err)
		h := NewHub(f)
		do(t, f.Offer(&Snapshot{Records: []Aged{{AgeMS: 500, Record: says("p", 1, map[string]State{"a": Down})}}}))
		time.Sleep(2 * time.Second)
		s, err := ParseSnapshot([]byte(body(t, ask(h, "GET", "/v1/feed"))))
		do(t, err)
		if !s.Inventory.Equal(inv) || s.Records[0].AgeMS != 2500 || s.Records[0].Nodes["a"].State != Down {
			t.Errorf("got %+v", s)
		}
	})
}

// A feed that knows nothing yet sends no inventory, which a reader would have to
// refuse.
func TestHubWithoutInventory(t *testing.T) {
	f, err := Open(Config{Log: quiet})
	do(t, err)
	s, err := ParseSnapshot([]byte(body(t, ask(NewHub(f), "GET", "/v1/feed"))))
	if err != nil || s.Inventory != nil || len(s.Records) != 0 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestHubNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{Inventory: watched(t, "ams1", "lon1")})
		h := NewHub(f)
		offer(t, f, says("p", 1, map[string]State{"ams1": Down, "lon1": Up}))
		time.Sleep(12 * time.Second)
		want := `generation 2, fresh, heard 12s ago

NODE  STATE  REASON            SINCE  RTT  HEALTH  ACCEPTS  RAMP  CPU  RPS  VOTES
ams1  down   1 of 1 probers    12s    -    0%      100%     100%  0%   0    down: p
lon1  up     1 of 1 probers    12s    1ms  90%     100%     100%  0%   0    up: p
`
		got := body(t, ask(h, "GET", "/v1/nodes"))
		if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		var v nodesView
		do(t, json.Unmarshal([]byte(body(t, ask(h, "GET", "/v1/nodes?format=json"))), &v))
		if v.Generation != 2 || *v.HeardMS != 12_000 || v.Nodes[0].ID != "ams1" || v.Nodes[0].State != Down ||
			v.Nodes[1].RTT.P50 != 1000 || v.Nodes[1].Health != 0.9 {
			t.Errorf("got %+v", v)
		}
	})
}

// The form is the one that the client names first; a browser does not run, load or frame
// anything, whatever the feed says.
func TestHubNodesForms(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), StateFile: filepath.Join(t.TempDir(), "f"), Log: quiet})
	do(t, err)
	offer(t, f, says("p", 1, map[string]State{"n": Down}), says("q", 1, map[string]State{"n": Up}))
	_, err = f.Drain("n", "jo", `<script>alert("x")</script>`)
	do(t, err)
	f.merge(time.Now())
	h := NewHub(f)
	for accept, want := range map[string]string{
		"": "text/plain", "*/*": "text/plain", "application/json": "application/json",
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "text/html",
		"application/json, text/html":                                     "application/json", "text/html, application/json": "text/html",
	} {
		r := ask(h, "GET", "/v1/nodes", "Accept: "+accept)
		if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: a browser may take it for something else", accept)
		}
	}
	r := ask(h, "GET", "/v1/nodes?format=html")
	page := body(t, r)
	for _, want := range []string{`<th scope="row">n`, `class="state draining"`, "operator (jo: &lt;script&gt;", "p down</span>", "q up</span>", `class="probers">p, `} {
		if !strings.Contains(page, want) {
			t.Errorf("there is no %s in\n%s", want, page)
		}
	}
	if strings.Contains(page, "<script") || !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("scripts: %v\n%s", r.Header, page)
	}
	var v nodesView
	do(t, json.Unmarshal([]byte(body(t, ask(h, "GET", "/v1/nodes?format=json"))), &v))
	if got := v.Nodes[0].Votes; len(v.Probers) != 2 || len(got) != 2 || got[0] != (voteView{"p", Down}) || got[1] != (voteView{"q", Up}) {
		t.Errorf("got %+v", v)
	}
}

// However many ask, and however often the data changes, rendering is bounded.
func TestHubRendersSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rendering
		rendered := 0
		render := func(time.Time) *page { rendered++; return &page{} }
		for i := range 1000 { // 10 s
			for range 10 {
				r.get(uint64(i), render)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if rendered != 100 {
			t.Errorf("%d times in 10 s of change", rendered)
		}
		rendered = 0
		for range 1000 {
			r.get(1000, render)
			time.Sleep(10 * time.Millisecond)
		}
		if rendered > 11 {
			t.Errorf("%d times in 10 s of rest", rendered)
		}
	})
}
