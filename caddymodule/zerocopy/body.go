package zerocopy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// how says in what way the body of a response left.
type how int

const (
	noBody   how = iota // HEAD, 304, or a body that is not a file
	copied              // through a buffer of this process
	sendfile            // from the page cache, by the kernel; the rest of a chunk may be copied
)

func (h how) String() string {
	switch h {
	case copied:
		return "copy"
	case sendfile:
		return "sendfile"
	default:
		return "no_body"
	}
}

// bufferSize is the size of a copy buffer.
const bufferSize = 64 << 10

// sendfileMin is the smallest body worth a sendfile. Below, copying through a
// pooled buffer takes fewer system calls and less time: on the machine of the
// README both cost the same between 128 and 256 KiB, over loopback, where a
// sendfile saves least.
const sendfileMin = 2 * bufferSize

// sniffLen is how much of a body net/http copies by itself, to go out with the
// header, before it hands the rest to the connection.
const sniffLen = 512

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// bodyWriter is a response writer that knows how to send a file. Both
// http.ServeContent and file_server copy with io.CopyN, which calls ReadFrom
// with an *io.LimitedReader around the file. Caddy's idle-timeout writer wraps
// that in another one per chunk, and the net package looks through one layer
// only: this is why file_server does not reach sendfile. ReadFrom takes the
// outer layer off and puts something in its place that keeps the bound.
//
// It never reaches below the writers of other handlers, so access log, metrics
// and deadlines see every byte. One per request, used by its goroutine only.
type bodyWriter struct {
	*caddyhttp.ResponseWriterWrapper

	// Set at construction.
	kernel  bool  // the connection may take sendfile
	chunk   int64 // most bytes the idle-timeout writer asks for at once; 0 without one
	minimum int64 // smallest body to try sendfile for

	// Results.
	sent    how
	short   bool  // the source ended or failed before its announced length
	missing int64 // bytes that were announced and not sent, if short
	readErr error // why, if not because the file ended
}

func newBodyWriter(w http.ResponseWriter, r *http.Request) *bodyWriter {
	body := &bodyWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		kernel:                r.ProtoMajor == 1 && r.TLS == nil,
	}
	if _, idle := caddyhttp.IdleTimeoutsFromContext(r.Context()); idle != nil {
		body.chunk = caddyhttp.DefaultMaxWriteChunk
		if idle.MaxChunk > 0 {
			body.chunk = int64(idle.MaxChunk)
		}
	}
	// With less than a full chunk behind the sniffed bytes, a window lends
	// nothing.
	body.minimum = max(sendfileMin, body.chunk+sniffLen)
	return body
}

// ReadFrom sends src. A limited file goes the cheapest way the connection has,
// any other limited source is copied, and the rest goes down unchanged. After
// a short send it returns what io.CopyN takes for one, and w.short is true.
func (w *bodyWriter) ReadFrom(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		return w.ResponseWriterWrapper.ReadFrom(src)
	}
	announced := limited.N
	var n int64
	var readErr, err error
	file, offset, ok := underlying(limited.R)
	if ok && w.kernel && announced >= w.minimum {
		n, readErr, err = w.handDown(file, offset, announced)
		limited.N -= n
	} else {
		n, readErr, err = w.copy(limited)
	}
	if readErr != nil || (err == nil && n < announced) {
		w.short, w.missing, w.readErr = true, announced-n, readErr
	}
	return n, err
}

// handDown gives n bytes of file, from offset on, to the writers below, for
// the connection to send with sendfile.
func (w *bodyWriter) handDown(file *os.File, offset, n int64) (written int64, readErr, err error) {
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0, err, err
	}
	from := &window{file: file, end: offset + n, chunk: w.chunk}
	var src io.Reader = from
	if w.chunk == 0 {
		src = io.LimitReader(from, n)
	}
	written, err = w.ResponseWriterWrapper.ReadFrom(src)
	w.sent = copied
	if from.lent {
		w.sent = sendfile
	}
	return written, from.err, err
}

// copy sends src through a pooled buffer: where sendfile is impossible, this
// spares the buffer that io.Copy makes for every chunk.
func (w *bodyWriter) copy(src *io.LimitedReader) (written int64, readErr, err error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for src.N > 0 {
		n, readErr := src.Read(buf[:])
		if n > 0 {
			w.sent = copied
			m, err := w.Write(buf[:n])
			written += int64(m)
			if err != nil {
				return written, nil, err
			}
		}
		if errors.Is(readErr, io.EOF) {
			return written, nil, nil
		}
		if readErr != nil {
			return written, readErr, readErr
		}
	}
	return written, nil, nil
}

// underlying returns the file that r reads from and the offset of its next
// byte. r is an *os.File, or the *io.SectionReader of one.
func underlying(r io.Reader) (*os.File, int64, bool) {
	switch r := r.(type) {
	case *os.File:
		offset, err := r.Seek(0, io.SeekCurrent)
		return r, offset, err == nil
	case *io.SectionReader:
		outer, start, _ := r.Outer()
		file, ok := outer.(*os.File)
		if !ok {
			return nil, 0, false
		}
		offset, err := r.Seek(0, io.SeekCurrent)
		return file, start + offset, err == nil
	}
	return nil, 0, false
}
