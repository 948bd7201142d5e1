package edgecache

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// errTruncated is why a response with less or more content than it announced
// is not stored.
var errTruncated = errors.New("origin server sent another length than it announced")

// errEnded is what a handler gets that writes after it has returned.
var errEnded = errors.New("the response is over")

// maxInterims is how many interim responses to one request are passed on.
const maxInterims = 64

// originWriter is what the next handler writes its response to. Its header is
// private: what earlier handlers preset for one client is not stored, and
// what the next handler clears for interim responses is not theirs.
//
// onHeader is called once, at the header of the final response, and decides
// where content goes from there: into body, to client, both or nowhere.
type originWriter struct {
	// Set at construction.
	header   http.Header
	onHeader func(status int)

	// Owned by the goroutine that runs the next handler.
	client  http.ResponseWriter // nil: no client to write to
	waiting *lease              // of a client that waits for onHeader, or nil
	body    *collapse.Body      // nil: nothing is being stored or shared
	wrote   bool
	status  int
	written int64

	interims int
	onWrite  func() // called for progress, may be nil

	ended atomic.Bool // the next handler has returned
}

// newOriginWriter takes from preset, the header of the client's writer, only
// Caddy's own Server field: reverse_proxy removes it, other handlers do not,
// and either should show.
func newOriginWriter(preset http.Header, onHeader func(int)) *originWriter {
	header := make(http.Header)
	if server, ok := preset["Server"]; ok {
		header["Server"] = server
	}
	return &originWriter{header: header, onHeader: onHeader}
}

// Header returns the private header.
func (o *originWriter) Header() http.Header { return o.header }

// WriteHeader passes interim responses on to a client that is there and
// decides at the final one.
func (o *originWriter) WriteHeader(status int) {
	switch {
	case o.ended.Load() || o.wrote:
	case status < 100 || status > 999:
		panic(fmt.Sprintf("no HTTP status: %d", status)) // as net/http does, which may not be there to do it
	case status < 200 && status != http.StatusSwitchingProtocols:
		o.interim(status)
	default:
		o.wrote, o.status = true, status
		o.onHeader(status)
	}
}

// Write writes content to wherever onHeader decided.
func (o *originWriter) Write(p []byte) (int, error) {
	if o.ended.Load() {
		return 0, errEnded
	}
	if !o.wrote {
		o.WriteHeader(http.StatusOK)
	}
	o.written += int64(len(p))
	if o.onWrite != nil {
		o.onWrite()
	}
	if o.body != nil {
		if _, err := o.body.Write(p); err != nil && o.client == nil {
			return 0, err
		} else if err != nil {
			o.body = nil // too long to store; the client goes on
		}
	}
	if o.client != nil {
		return o.client.Write(p)
	}
	return len(p), nil
}

// ReadFrom keeps the way to the kernel open while nothing is stored.
func (o *originWriter) ReadFrom(r io.Reader) (int64, error) {
	if o.ended.Load() {
		return 0, errEnded
	}
	if !o.wrote {
		o.WriteHeader(http.StatusOK)
	}
	if rf, ok := o.client.(io.ReaderFrom); ok && o.body == nil {
		n, err := rf.ReadFrom(r)
		o.written += n
		return n, err
	}
	return io.Copy(struct{ io.Writer }{o}, r)
}

// FlushError flushes to the client, if there is one.
func (o *originWriter) FlushError() error {
	if o.ended.Load() {
		return errEnded
	}
	if !o.wrote {
		o.WriteHeader(http.StatusOK)
	}
	if o.client == nil {
		return nil
	}
	return http.NewResponseController(o.client).Flush()
}

// end makes the writer useless to a handler that keeps it beyond its return:
// the client's writer and the body have gone their own ways then.
func (o *originWriter) end() { o.ended.Store(true) }

// abandoned reports whether what came is no response at all: the 499 that
// reverse_proxy writes for an exchange that was cancelled, which has no field
// of any origin server, or a switch of protocols that nobody asked for.
func (o *originWriter) abandoned() bool {
	if o.status == http.StatusSwitchingProtocols {
		return true
	}
	for name := range o.header {
		if name != "Server" {
			return false
		}
	}
	return o.status == statusClientClosed
}

// length is the announced length of the content, -1 if it is not known.
func (o *originWriter) length() int64 {
	if v := o.header["Content-Length"]; len(v) == 1 {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// complete returns an error if less or more content came than was announced,
// or than part has if that is not nil.
func (o *originWriter) complete(part *httpcache.Part) error {
	n := o.length()
	if part != nil {
		n = part.Length
	}
	if n >= 0 && n != o.written {
		return fmt.Errorf("%w: %d of %d bytes", errTruncated, o.written, n)
	}
	return nil
}

// sendHeader sends the final header to the client, own being this cache's
// member of Cache-Status.
func (o *originWriter) sendHeader(status int, own httpcache.CacheStatus) {
	header := o.client.Header()
	delete(header, "Server")
	for name, values := range o.header {
		if name != "Cache-Status" {
			addField(header, name, values)
		}
	}
	upstream := strings.Join(o.header["Cache-Status"], ", ")
	setStatus(header, own, upstream)
	o.client.WriteHeader(status)
}

// sendTrailers hands trailers to the client: fields set after the header that
// it announced, or that carry the prefix net/http knows them by.
func (o *originWriter) sendTrailers() {
	if o.client == nil || !o.wrote {
		return
	}
	header := o.client.Header()
	for _, line := range o.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := o.header[name]; ok {
				header[name] = values
			}
		}
	}
	for name, values := range o.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			header[name] = values
		}
	}
}

// interim passes an interim response on, unless there have been too many.
func (o *originWriter) interim(status int) {
	if o.interims++; o.interims > maxInterims {
		return
	}
	switch {
	case o.client != nil:
		interim{status, o.header}.send(o.client)
	case o.waiting != nil:
		o.waiting.interims <- interim{status, o.header.Clone()} // has room for all there may be
	}
}

// interim is an interim response (RFC 9110 §15.2).
type interim struct {
	status int
	header http.Header
}

// send writes the response and leaves the header of w as it was.
func (i interim) send(w http.ResponseWriter) {
	header := w.Header()
	before := header.Clone()
	for name, values := range i.header {
		header[name] = values
	}
	w.WriteHeader(i.status)
	clear(header)
	for name, values := range before {
		header[name] = values
	}
}
