package store

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"testing"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// fill stores n responses of 100 bytes as they come from a connection.
func fill(t testing.TB, s *Store, n int) {
	t.Helper()
	request := &http.Request{Method: "GET", Header: http.Header{}}
	for i := range n {
		message := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 100\r\nCache-Control: public, max-age=86400\r\n"+
			"Etag: \"%016x\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: nginx\r\n\r\n", i)
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader([]byte(message))), request)
		if err != nil {
			t.Fatal(err)
		}
		stored := new(httpcache.Policy).NewStored(request, 200, res.Header, t0, t0)
		e := &Entry{Key: fmt.Sprintf("Gs\x04httpa\x0fwww.example.com/\x14/images/%08d.png", i), Stored: stored, Body: make([]byte, 100)}
		if !s.Put(e, s.Generation(e.Key), t0) {
			t.Fatal("not stored")
		}
	}
}

func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What the store says that it takes is what it takes, give or take a tenth.
func TestBytesAreMemory(t *testing.T) {
	const n = 50_000
	before := live()
	s := New(1 << 30)
	fill(t, s, n)
	taken := live() - before
	if said := s.Bytes(); said < taken*9/10 || said > taken*11/10 {
		t.Errorf("%d bytes for an object, which says %d", taken/n, said/n)
	}
	t.Logf("%d bytes for an object beside its content, which says %d", taken/n-100, s.Bytes()/n-100)
	runtime.KeepAlive(s)
}
