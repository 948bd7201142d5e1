package edgecache

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// encode stands behind the cache: what it compresses is stored compressed,
// one variant for each coding, and neither a hit nor a validation compresses
// again. encode is the only one who knows the origin server's own tag, so that
// tags show who has been asked.
func TestEncodedVariants(t *testing.T) {
	text := strings.Repeat("compress me ", 1000)
	var whole atomic.Int64 // responses with content
	e := newEdge(t, `
http://%s {
	encode zstd gzip
	edgecache
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/validated" {
			w.Header().Set("Cache-Control", "no-cache")
		}
		if r.Header.Get("If-None-Match") == "" {
			whole.Add(1)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	})
	decode := map[string]func(string) (io.Reader, error){
		"zstd":     func(s string) (io.Reader, error) { return zstd.NewReader(strings.NewReader(s)) },
		"gzip":     func(s string) (io.Reader, error) { return gzip.NewReader(strings.NewReader(s)) },
		"identity": func(s string) (io.Reader, error) { return strings.NewReader(s), nil },
	}
	tags := map[string]string{"zstd": `"v1-zstd"`, "gzip": `"v1-gzip"`, "identity": `"v1"`}
	for _, path := range []string{"/fresh", "/validated"} {
		first := make(map[string]string)
		for round := range 3 {
			for _, accept := range []string{"gzip, zstd", "gzip", "junk", "br, gzip;q=0.1"} {
				coding := strings.NewReplacer("gzip, zstd", "zstd", "junk", "identity", "br, gzip;q=0.1", "gzip").Replace(accept)
				stored := theState(t).store.Objects()
				r := e.get(path, "Accept-Encoding", accept)
				reader, err := decode[coding](r.body)
				if err != nil {
					t.Fatalf("%s %s: %v in %d %v", path, accept, err, r.status, r.header)
				}
				plain, err := io.ReadAll(reader)
				if err != nil || !bytes.Equal(plain, []byte(text)) || r.header.Get("Etag") != tags[coding] {
					t.Fatalf("%s %s: %d bytes, Etag %s, %v", path, accept, len(plain), r.header.Get("Etag"), err)
				}
				if before, ok := first[accept]; ok && before != r.body {
					t.Errorf("%s %s: other bytes than before", path, accept)
				}
				first[accept] = r.body
				if strings.HasSuffix(r.cacheStatus(), "; stored") {
					eventually(t, "stored", func() bool { return theState(t).store.Objects() == stored+1 })
				} else if round == 0 && accept != "br, gzip;q=0.1" {
					t.Errorf("%s %s: %s", path, accept, r.cacheStatus())
				}
				// Clients send back the tag that they got.
				if r := e.get(path, "Accept-Encoding", accept, "If-None-Match", tags[coding]); r.status != 304 || r.header.Get("Etag") != tags[coding] {
					t.Errorf("%s %s: %d %v", path, accept, r.status, r.header)
				}
			}
		}
	}
	// zstd, gzip, identity and "br, gzip", whose key is its own, of each path.
	if n, m := whole.Load(), theState(t).store.Objects(); n != 8 || m != 8 {
		t.Errorf("%d responses with content, %d stored, want 8", n, m)
	}
}
