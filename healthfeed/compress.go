package healthfeed

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// What a hub says is four to five times smaller in gzip (RFC 1952), and is compressed once
// for all who take it so. A stream begins with a header and never ends, so what follows
// can be put together from pieces that know nothing of each other, each flushed to a
// whole byte (RFC 1951, section 3.2.4):
//
//	header | event | heartbeat | event | …

// gzipHeader says deflate, and nothing of a file, a time or a system.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// squeezedHeartbeat is heartbeat as a piece of a compressed stream.
var squeezedHeartbeat = squeeze(heartbeat)

var squeezers = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // the level is good
	return w
}}

// squeeze compresses a piece of a stream.
func squeeze(piece []byte) []byte {
	var b bytes.Buffer
	w := squeezers.Get().(*flate.Writer)
	defer squeezers.Put(w)
	w.Reset(&b)
	w.Write(piece) // into memory, which takes all
	w.Flush()
	return b.Bytes()
}

// zip compresses a whole.
func zip(whole []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is good
	w.Write(whole)
	w.Close()
	return b.Bytes()
}

// acceptsGzip implements Accept-Encoding (RFC 9110, section 12.5.3) for the one coding
// that a hub has.
func acceptsGzip(r *http.Request) bool {
	accepts := false
	for _, field := range r.Header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(field, ",") {
			name, weight, _ := strings.Cut(coding, ";")
			name = strings.TrimSpace(name)
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.ReplaceAll(weight, " ", ""), "q="), 64)
			switch {
			case strings.EqualFold(name, "gzip"):
				return err != nil || q > 0
			case name == "*":
				accepts = err != nil || q > 0
			}
		}
	}
	return accepts
}
