package edgecache

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestRangesOfStored asks for parts of what is stored whole.
func TestRangesOfStored(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Type", "text/x-digits")
		cacheable(w, "0123456789")
	})
	e.want(e.get("/"), 200, "edgecache; fwd=uri-miss; stored", 1)
	stored(t, 1)
	for _, tc := range []struct {
		value, ifRange string
		status         int
		body, of       string
	}{
		{"bytes=0-1", "", 206, "01", "bytes 0-1/10"},
		{"bytes=5-", "", 206, "56789", "bytes 5-9/10"},
		{"bytes=-3", "", 206, "789", "bytes 7-9/10"},
		{"bytes=-30", "", 206, "0123456789", "bytes 0-9/10"},
		{"bytes=8-99", "", 206, "89", "bytes 8-9/10"},
		{"bytes=10-", "", 416, "", "bytes */10"},
		{"bytes=-0", "", 416, "", "bytes */10"},
		{"bytes=3-2", "", 200, "0123456789", ""},
		{"bytes=4-5,10-", "", 206, "45", "bytes 4-5/10"},
		{"lines=0-1", "", 200, "0123456789", ""},
		{"bytes=0-1", `"v1"`, 206, "01", "bytes 0-1/10"},
		{"bytes=0-1", `"v2"`, 200, "0123456789", ""},
		{"bytes=0-1", `W/"v1"`, 200, "0123456789", ""},
	} {
		fields := []string{"Range", tc.value}
		if tc.ifRange != "" {
			fields = append(fields, "If-Range", tc.ifRange)
		}
		r := e.get("/", fields...)
		if r.status != tc.status || r.body != tc.body || r.header.Get("Content-Range") != tc.of || r.err != nil {
			t.Errorf("%s %s: got %d %q %q %v", tc.value, tc.ifRange, r.status, r.body, r.header.Get("Content-Range"), r.err)
		}
		if got := r.header.Get("Content-Length"); got != strconv.Itoa(len(tc.body)) {
			t.Errorf("%s: Content-Length %s", tc.value, got)
		}
		if tc.status != 200 && r.header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("%s: no Accept-Ranges", tc.value)
		}
		// An error about one range is nothing that another cache should keep.
		if kept := r.header.Get("Cache-Control") != "" || r.header.Get("Etag") != "" || r.header.Get("Content-Type") != ""; kept != (tc.status != 416) {
			t.Errorf("%s: %v", tc.value, r.header)
		}
	}
	if e.asked.Load() != 1 {
		t.Errorf("asked %d times", e.asked.Load())
	}
}

// TestMultipartRanges reads several ranges as a client would.
func TestMultipartRanges(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x-digits; charset=us-ascii")
		cacheable(w, string(content))
	})
	e.get("/")
	stored(t, 1)
	r := e.get("/", "Range", "bytes=-10, 0-9,5000-5003")
	kind, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil || r.err != nil || r.status != 206 || kind != "multipart/byteranges" || r.header.Get("Content-Range") != "" ||
		r.header.Get("Content-Length") != strconv.Itoa(len(r.body)) {
		t.Fatalf("got %d %v %v %v", r.status, r.header, err, r.err)
	}
	parts := multipart.NewReader(strings.NewReader(r.body), params["boundary"])
	for _, want := range []struct{ of, body string }{
		{"bytes 9990-9999/10000", "0123456789"}, {"bytes 0-9/10000", "0123456789"}, {"bytes 5000-5003/10000", "0123"},
	} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if string(body) != want.body || err != nil || part.Header.Get("Content-Range") != want.of ||
			part.Header.Get("Content-Type") != "text/x-digits; charset=us-ascii" {
			t.Errorf("got %q %v %v, want %q %s", body, part.Header, err, want.body, want.of)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
	if again := e.get("/", "Range", "bytes=0-1,4-5"); again.header.Get("Content-Type") == r.header.Get("Content-Type") {
		t.Error("two responses with the same boundary")
	}
	if e.asked.Load() != 1 {
		t.Errorf("asked %d times", e.asked.Load())
	}
}
