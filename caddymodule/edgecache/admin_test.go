package edgecache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// admin asks the module's routes as Caddy's mux would, and reads the answer. It
// returns the status.
func admin(t *testing.T, method, path string, answer any) int {
	t.Helper()
	mux := http.NewServeMux()
	for _, route := range (adminAPI{}).Routes() {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			var refusal caddy.APIError
			if err := route.Handler.ServeHTTP(w, r); errors.As(err, &refusal) {
				w.WriteHeader(refusal.HTTPStatus)
				_, _ = io.WriteString(w, refusal.Error())
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	if answer != nil {
		if err := json.Unmarshal(w.Body.Bytes(), answer); err != nil {
			t.Fatalf("%s: %v in %s", path, err, w.Body)
		}
	}
	return w.Code
}

func TestAdminStores(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "content") })
	if err := e.load("edgecache {\nstore extra {\nmemory 1MiB\nmax_object 4KiB\n}\n}", site); err != nil {
		t.Fatal(err)
	}
	e.get("/")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	var all []storeJSON
	if code := admin(t, "GET", "/edgecache/stores", &all); code != 200 || len(all) != 2 || all[0].Name != "default" || all[1].Name != "extra" {
		t.Fatalf("%d %+v", code, all)
	}
	if s := all[0]; s.Objects != 1 || s.Bytes < 300 || s.Memory != 256<<20 || s.MaxObject != 32<<20 || s.Flights != 0 {
		t.Errorf("%+v", s)
	}
	var extra storeJSON
	if code := admin(t, "GET", "/edgecache/stores/extra", &extra); code != 200 || extra != all[1] || extra.Memory != 1<<20 || extra.MaxObject != 4<<10 {
		t.Errorf("%d %+v", code, extra)
	}
	for request, want := range map[string]int{
		"GET /edgecache/stores/nothing":                              404,
		"POST /edgecache/stores":                                     405,
		"DELETE /edgecache/stores/default":                           405,
		"PUT /edgecache/object":                                      405,
		"POST /edgecache/flights":                                    405,
		"HEAD /edgecache/flights":                                    200,
		"GET /edgecache/object":                                      400,
		"GET /edgecache/object?url=/relative":                        400,
		"GET /edgecache/object?url=ftp://a.test/":                    400,
		"GET /edgecache/object?url=http://other.test/":               404,
		"GET /edgecache/object?url=http://other.test/&header=broken": 400,
	} {
		method, path, _ := strings.Cut(request, " ")
		if code := admin(t, method, path, nil); code != want {
			t.Errorf("%s: %d, want %d", request, code, want)
		}
	}
}

// Variants are told apart, and the one that a request selects is marked.
func TestAdminObject(t *testing.T) {
	e := newEdge(t, `
http://%s {
	@device path /device
	edgecache @device {
		key {
			header X-Device
		}
	}
	@other not path /device
	edgecache @other
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/part" {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Etag", `"part"`)
			http.ServeContent(w, r, "part.txt", time.Time{}, strings.NewReader("123456789"))
			return
		}
		w.Header().Set("Vary", "Accept-Language, X-Absent")
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=30, stale-if-error=0")
		w.Header().Set("Age", "10")
		_, _ = io.WriteString(w, r.Header.Get("Accept-Language"))
	})
	e.get("/page", "Accept-Language", "de")
	e.get("/page", "Accept-Language", "en, FR")
	e.get("/device", "X-Device", "phone")
	e.get("/part", "Range", "bytes=3-5")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 4 })

	object := func(path string, fields ...string) (all []objectJSON) {
		query := url.Values{"url": {"http://" + e.addr + path}, "header": fields}
		if code := admin(t, "GET", "/edgecache/object?"+query.Encode(), &all); code != 200 {
			t.Fatalf("%s: %d", path, code)
		}
		return all
	}
	all := object("/page", "accept-language: en,fr")
	if len(all) != 1 || all[0].Store != "default" || all[0].Key != "http://"+e.addr+"/page" || len(all[0].Variants) != 2 {
		t.Fatalf("%+v", all)
	}
	newer, older := all[0].Variants[0], all[0].Variants[1]
	if !newer.Selected || older.Selected {
		t.Errorf("selected %v and %v, want the newer one", newer.Selected, older.Selected)
	}
	if newer.Vary["Accept-Language"] != "en,fr" || newer.Vary["X-Absent"] != "-" || older.Vary["Accept-Language"] != "de" {
		t.Errorf("they vary by %v and %v", newer.Vary, older.Vary)
	}
	if older.Status != 200 || !older.Fresh || older.Age < 10 || older.Age > 20 || older.TTL < 40 || older.TTL > 50 ||
		older.ETag != `"v1"` || older.Content != 2 || older.Size < 300 {
		t.Errorf("%+v", older)
	}
	if until := older.StaleWhileRevalidate; until == nil || time.Until(*until) < 70*time.Second || time.Until(*until) > 80*time.Second {
		t.Errorf("stale while revalidate until %v", until)
	}
	if older.StaleIfError != nil || time.Until(older.Kept) < 23*time.Hour {
		t.Errorf("stale if error until %v, kept until %v", older.StaleIfError, older.Kept)
	}
	if all := object("/page", "Accept-Language: it"); all[0].Variants[0].Selected || all[0].Variants[1].Selected {
		t.Errorf("selected one of %+v", all)
	}
	if all := object("/part"); len(all[0].Variants) != 1 || fmt.Sprint(all[0].Variants[0].Parts) != "[3-5]" || all[0].Variants[0].Content != 9 {
		t.Errorf("%+v", all)
	}
	// Another recipe, another key.
	if all := object("/device", "X-Device: phone"); len(all) != 1 || all[0].Key != "http://"+e.addr+"/device; x-device=phone" {
		t.Errorf("%+v", all)
	}
}

func TestAdminFlights(t *testing.T) {
	header, content := make(chan struct{}), make(chan struct{})
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		<-header
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "content")
		_ = http.NewResponseController(w).Flush()
		<-content
	})
	var all []flightJSON
	if admin(t, "GET", "/edgecache/flights", &all); len(all) != 0 {
		t.Fatalf("%+v", all)
	}
	done := make(chan reply, 2)
	for range 2 {
		go func() { r, _ := e.do(e.request("GET", "/page?q=1", "Cookie", "secret")); done <- r }()
	}
	want := "http://" + e.addr + "/page?q=1"
	eventually(t, "one waits", func() bool {
		admin(t, "GET", "/edgecache/flights", &all)
		return len(all) == 1 && all[0].Waiters == 1
	})
	if f := all[0]; f.Key != want || f.State != "waiting" || f.Store != "default" || len(f.KeyHash) != 16 {
		t.Errorf("%+v", f)
	}
	close(header)
	eventually(t, "both read", func() bool {
		admin(t, "GET", "/edgecache/flights", &all)
		return len(all) == 1 && all[0].State == "streaming" && all[0].Readers == 2 && all[0].Bytes == 7 && all[0].Waiters == 0
	})
	if all[0].Key != want || all[0].AgeMS < 0 {
		t.Errorf("%+v", all[0])
	}
	close(content)
	<-done
	<-done
	eventually(t, "over", func() bool {
		admin(t, "GET", "/edgecache/flights", &all)
		return len(all) == 0
	})
}
