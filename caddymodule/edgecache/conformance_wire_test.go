package edgecache

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// wired is a response as its bytes, which the tables above, whose origin
// server speaks HTTP as net/http does, cannot have.
type wired struct {
	id      string
	section string
	level   level
	raw     string // "\n" stands for CR LF; the connection ends behind it
	reused  bool   // a second request is answered without asking
	broken  bool   // the client of the first one sees that it is not whole, or gets 502
	get     []string
}

const (
	okFresh  = "HTTP/1.1 200 OK\nCache-Control: max-age=100\nContent-Type: text/plain\n"
	okFresh0 = "HTTP/1.0 200 OK\nCache-Control: max-age=100\nContent-Type: text/plain\n"
	hello    = "Content-Length: 5\n\nhello"
	chunks   = "Transfer-Encoding: chunked\n\n2\nhe\n3\nllo\n0\n"
)

var wire = []wired{
	{"http-1.0", "RFC 9112 §2.5", should, okFresh0 + hello, true, false, nil},
	{"http-1.0-expires", "RFC 9111 §5.3", should, "HTTP/1.0 200 OK\nExpires: Fri, 31 Dec 9999 23:59:59 GMT\nContent-Length: 5\n\nhello", true, false, nil},
	{"http-1.0-expired", "RFC 9111 §5.3", must, "HTTP/1.0 200 OK\nExpires: 0\nContent-Length: 5\n\nhello", false, false, nil},
	{"http-1.0-up-to-the-end", "RFC 9112 §6.3", may, okFresh0 + "\nhello", true, false, []string{"Content-Length", "5"}},
	{"up-to-the-end", "RFC 9112 §6.3", may, okFresh + "Connection: close\n\nhello", true, false, []string{"Content-Length", "5", "Connection", ""}},
	{"ends-early", "RFC 9111 §3.3", must, okFresh + "Content-Length: 50\n\nhello", false, true, nil},
	{"chunks", "RFC 9112 §7.1", should, okFresh + chunks + "\n", true, false, []string{"Transfer-Encoding", "", "Content-Length", "5"}},
	{"chunk-extensions", "RFC 9112 §7.1.1", should, okFresh + "Transfer-Encoding: chunked\n\n5;a=b;c=\"d\"\nhello\n0\n\n", true, false, nil},
	{"chunks-end-early", "RFC 9112 §8", must, okFresh + "Transfer-Encoding: chunked\n\n5\nhello\n", false, true, nil},
	{"chunks-beside-a-length", "RFC 9112 §6.3", must, okFresh + "Content-Length: 3\n" + chunks + "\n", true, false, []string{"Content-Length", "5"}},
	{"trailers-are-no-fields", "RFC 9111 §3.1", must, okFresh + chunks + "X-Trailer: 1\nCache-Control: no-store\n\n", true, false, []string{"X-Trailer", "", cacheControl, fresh}},
	{"unknown-coding", "RFC 9112 §6.1", must, okFresh + "Transfer-Encoding: x-foo\n\nhello", false, true, nil},
	{"length-twice", "RFC 9110 §8.6", may, okFresh + "Content-Length: 5\n" + hello, true, false, []string{"Content-Length", "5"}},
	{"lengths-differ", "RFC 9112 §6.3", must, okFresh + "Content-Length: 4\n" + hello, false, true, nil},
	{"folded", "RFC 9112 §5.2", may, "HTTP/1.1 200 OK\nCache-Control: foo,\n max-age=100\n" + hello, true, false, nil},
	{"folded-no-store", "RFC 9112 §5.2", must, "HTTP/1.1 200 OK\nCache-Control: max-age=100,\n\tno-store\n" + hello, false, false, nil},
	{"name-case", "RFC 9110 §5.1", must, "HTTP/1.1 200 OK\ncAcHe-CONTROL:max-age=100 \t \n" + hello, true, false, nil},
	{"no-reason", "RFC 9112 §4", must, "HTTP/1.1 200 \nCache-Control: max-age=100\n" + hello, true, false, nil},
	{"no-date", "RFC 9110 §6.6.1", must, okFresh + hello, true, false, []string{"Age", "~0"}},
	{"no-colon", "RFC 9112 §5", must, okFresh + "garbage\n" + hello, false, true, nil},
	{"no-http", "RFC 9112 §4", must, "garbage\n\n", false, true, nil},
	{"many-lines", "RFC 9110 §5.3", must, "HTTP/1.1 200 OK\n" + strings.Repeat("Cache-Control: foo\n", 100) + "Cache-Control: max-age=100\n" + hello, true, false, nil},
	{"many-lines-no-store", "RFC 9110 §5.3", must, okFresh + strings.Repeat("Cache-Control: foo\n", 100) + "Cache-Control: no-store\n" + hello, false, false, nil},
	{"connection-two-lines", "RFC 9110 §7.6.1", must, okFresh + "Connection: X-A\nConnection: x-b\nX-A: 1\nX-B: 1\nX-C: 1\n" + hello, true, false, []string{"X-A", "", "X-B", "", "X-C", "1"}},
	{"trailer-field-and-length", "RFC 9111 §3.1", should, okFresh + "Trailer: X-A\n" + hello, true, false, []string{"Trailer", ""}},
	{"interims", "RFC 9110 §15.2", must, "HTTP/1.1 102 Processing\nCache-Control: no-store\n\nHTTP/1.1 103 Early Hints\nLink: </a>\nEtag: \"x\"\n\nHTTP/1.1 199 Odd\nAge: 500\n\n" + okFresh + hello, true, false, []string{"Link", "", "Etag", "", "Age", "~0"}},
	{"high-bytes", "RFC 9110 §5.5", should, okFresh + "X-A: caf\xe9 \xff\n" + hello, true, false, []string{"X-A", "caf\xe9 \xff"}},
}

func TestConformanceOnTheWire(t *testing.T) {
	byID := make(map[string]string, len(wire))
	for _, c := range wire {
		byID["/"+c.id] = strings.ReplaceAll(c.raw, "\n", "\r\n")
	}
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, byID[r.URL.Path])
		_ = conn.Close()
	})
	for _, c := range wire {
		t.Run(c.id, func(t *testing.T) {
			first := e.get("/" + c.id)
			if first.status != http.StatusBadGateway && (first.body != "hello" || first.status != http.StatusOK) || c.broken != (first.err != nil || first.status == http.StatusBadGateway) {
				t.Fatalf("%s, %s: %d %v %q %v", c.section, c.level, first.status, first.header, first.body, first.err)
			}
			eventually(t, "the fetch ends", nothingIsFetched)
			before := e.asked.Load()
			second := e.get("/" + c.id)
			if reused := e.asked.Load() == before; reused != c.reused {
				t.Fatalf("%s, %s: reused %v: %d %v", c.section, c.level, reused, second.status, second.header)
			}
			if c.reused && second.body != "hello" {
				t.Errorf("%s, %s: content %q", c.section, c.level, second.body)
			}
			if problem := compareFields("the client", c.get, second.header); problem != "" {
				t.Errorf("%s, %s: %s", c.section, c.level, problem)
			}
			eventually(t, "the fetch ends", nothingIsFetched)
		})
	}
}
