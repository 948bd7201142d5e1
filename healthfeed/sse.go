package healthfeed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The stream of GET /v1/watch is that of server-sent events (WHATWG HTML, section
// 9.2), of which these lines are written and read:
//
//	id: 1f0c…-42       where to resume, sent back as Last-Event-ID
//	data: {…}          a Snapshot, or what of it has changed
//	                   (an empty line ends the event)
//	:                  a comment, which only says that the hub is alive

const eventStream = "text/event-stream"

// maxEventID is the length of an id in bytes. Ours have some 30.
const maxEventID = 200

// heartbeat is the comment that keeps a stream alive.
var heartbeat = []byte(":\n\n")

// An event is one message of a stream.
type event struct {
	id      string
	data    []byte
	started time.Time // when its first byte was here
}

// append writes the event behind b. Its data are one line.
func (e *event) append(b []byte) []byte {
	b = append(b, "id: "...)
	b = append(b, e.id...)
	b = append(b, "\ndata: "...)
	b = append(b, e.data...)
	return append(b, "\n\n"...)
}

// An eventReader reads the events of a stream.
type eventReader struct {
	r    *bufio.Reader
	most int // bytes that the data of one event may have
}

var errEventTooLong = errors.New("the event is too long")

// next returns the next event that has data. Fields other than id and data, and
// comments, are passed over.
func (r *eventReader) next() (event, error) {
	var e event
	var lines int
	for {
		line, err := r.line(&e)
		if err != nil {
			return event{}, err
		}
		if len(line) == 0 {
			if lines > 0 {
				return e, nil
			}
			e = event{}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			if len(value) > maxEventID || bytes.IndexByte(value, 0) >= 0 {
				return event{}, fmt.Errorf("bad event id %.80q", value)
			}
			e.id = string(value)
		case "data":
			if lines++; lines > 1 {
				e.data = append(e.data, '\n')
			}
			if len(e.data)+len(value) > r.most {
				return event{}, errEventTooLong
			}
			e.data = append(e.data, value...)
		}
	}
}

// line returns the next line without its end, which the next call overwrites.
func (r *eventReader) line(e *event) ([]byte, error) {
	var long []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if e.started.IsZero() {
			e.started = time.Now()
		}
		if len(long)+len(part) > max(r.most, maxEventID)+len("data: \r\n") {
			return nil, errEventTooLong
		}
		switch {
		case err == nil && long == nil:
			return bytes.TrimSuffix(part[:len(part)-1], []byte("\r")), nil
		case err == nil:
			long = append(long, part...)
			return bytes.TrimSuffix(long[:len(long)-1], []byte("\r")), nil
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, part...)
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// isEventStream reports whether a Content-Type is that of a stream.
func isEventStream(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(kind), eventStream)
}
