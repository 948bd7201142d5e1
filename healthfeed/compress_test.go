package healthfeed

import (
	"bufio"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAcceptsGzip(t *testing.T) {
	for field, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "br, gzip;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false, "*": true, "*;q=0": false,
		"*, gzip;q=0": false, "*;q=0, gzip": true, "identity": false, "x-gzip2": false, "gzip;q=x": true,
	} {
		r, err := http.NewRequest("GET", "http://hub/", nil)
		do(t, err)
		r.Header.Set("Accept-Encoding", field)
		if got := acceptsGzip(r); got != want {
			t.Errorf("%q: %v", field, got)
		}
	}
}

// A stream says the same with and without compression, as it happens: each event is
// there when it was sent and not when the next one is. It is compressed once for all.
func TestWatchCompressed(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	offer(t, f, says("a", 1, map[string]State{"n": Up}))
	h := NewHub(f)
	url := hub(t, h)
	type stream struct {
		encoding string
		events   eventReader
	}
	var streams []stream
	for _, encoding := range []string{"identity", "gzip", "gzip"} {
		client := directClient()
		t.Cleanup(client.CloseIdleConnections)
		r, err := http.NewRequestWithContext(t.Context(), "GET", url+watchPath, nil)
		do(t, err)
		r.Header.Set("Accept-Encoding", encoding) // by hand, so that the client leaves it as it is
		response, err := client.Do(r)
		do(t, err)
		t.Cleanup(func() { response.Body.Close() })
		var body io.Reader = response.Body
		if got := response.Header.Get("Content-Encoding"); (got == "gzip") != (encoding == "gzip") {
			t.Fatalf("%s: %q", encoding, got)
		}
		if encoding == "gzip" {
			body, err = gzip.NewReader(body)
			do(t, err)
		}
		streams = append(streams, stream{encoding, eventReader{bufio.NewReader(body), MaxSnapshot}})
	}
	for seq := uint64(1); seq <= 3; seq++ {
		if seq > 1 {
			offer(t, f, says("a", seq, map[string]State{"n": Up}))
		}
		for _, s := range streams {
			e, err := s.events.next()
			do(t, err)
			got, err := ParseSnapshot(e.data)
			do(t, err)
			if len(got.Records) != 1 || got.Records[0].Seq != seq {
				t.Errorf("%s: got %+v, want record %d", s.encoding, got.Records, seq)
			}
		}
	}
	h.deltas.mu.Lock()
	defer h.deltas.mu.Unlock()
	if one, other := h.deltas.event.squeezed(), h.deltas.event.squeezed(); &one[0] != &other[0] {
		t.Error("the same event is compressed again")
	}
}

func TestPagesCompressed(t *testing.T) {
	f, err := Open(Config{Inventory: numbered(t, 100), Log: quiet})
	do(t, err)
	h := NewHub(f)
	for _, target := range []string{feedPath, nodesPath, nodesPath + "?format=html", nodesPath + "?format=json"} {
		plain := ask(h, "GET", target)
		want := body(t, plain)
		zipped := ask(h, "GET", target, "Accept-Encoding: gzip")
		if zipped.Header.Get("Content-Encoding") != "gzip" || plain.Header.Get("Content-Encoding") != "" ||
			!strings.Contains(plain.Header.Get("Vary"), "Accept-Encoding") {
			t.Fatalf("%s: %v, %v", target, zipped.Header, plain.Header)
		}
		if zipped.ContentLength > int64(len(want)/3) || zipped.ContentLength <= 0 {
			t.Errorf("%s: %d bytes of %d", target, zipped.ContentLength, len(want))
		}
		z, err := gzip.NewReader(zipped.Body)
		do(t, err)
		got, err := io.ReadAll(z)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v: another page", target, err)
		}
	}
	small, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	if r := ask(NewHub(small), "GET", nodesPath, "Accept-Encoding: gzip"); r.Header.Get("Content-Encoding") != "" {
		t.Error("a small page is compressed")
	}
}
