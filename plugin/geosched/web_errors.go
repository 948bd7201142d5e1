package geosched

import (
	"net"
	"strings"
	"sync"
	"time"
	"unicode"
)

// webErrors is where an HTTP server writes what went wrong with its connections, a line
// for each:
//
//	http: TLS handshake error from 192.0.2.1:4711: EOF
//
// Whoever reaches the port can cause as many as he likes. So they are counted by reason,
// of which there are a few, and one line of each is logged per minute.
type webErrors struct {
	// set at construction
	what string
	addr net.Addr

	mu   sync.Mutex // guards told
	told map[string]*telling
}

// A telling is what was said of one reason.
type telling struct {
	last  time.Time
	since int // lines that were left out after it
}

// handshakeReasons are found in what the other packages say of a handshake that failed.
// The first that fits counts.
var handshakeReasons = [...]struct{ part, reason string }{
	{"remote error:", "disbelieved"},
	{"didn't provide a certificate", "no-certificate"},
	{"x509svid:", "certificate"}, // not by our authorities, too old, or without a SPIFFE ID
	{"the role of ", "certificate"},
	{"does not look like a TLS handshake", "no-tls"},
	{"sent an HTTP request", "no-tls"},
	{"timeout", "gone"},
	{"reset by peer", "gone"},
	{"broken pipe", "gone"},
	{"EOF", "gone"},
}

// reasonOf returns why a connection failed, from the line about it, and whether that was
// in a handshake.
func reasonOf(line string) (reason string, handshake bool) {
	_, why, handshake := strings.Cut(line, "TLS handshake error from ")
	if !handshake {
		return "http", false
	}
	for _, r := range handshakeReasons {
		if strings.Contains(why, r.part) {
			return r.reason, true
		}
	}
	return "protocol", true
}

// Write implements [io.Writer] for a [log.Logger], which calls it once per line.
func (e *webErrors) Write(line []byte) (int, error) {
	text := clean(string(line))
	reason, handshake := reasonOf(text)
	if handshake {
		handshakesFailed.WithLabelValues(reason).Inc()
	}
	if left, tell := e.tell(reason, time.Now()); tell {
		log.Warningf("%s on %v: %s: %s; %d more of these since the last one that was logged", e.what, e.addr, reason, text, left)
	}
	return len(line), nil
}

// tell reports whether a line is to be logged, and how many were not since the last one.
func (e *webErrors) tell(reason string, now time.Time) (left int, tell bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.told[reason]
	switch {
	case t == nil:
		e.told[reason] = &telling{last: now}
		return 0, true
	case now.Sub(t.last) < time.Minute:
		t.since++
		return 0, false
	}
	left, t.last, t.since = t.since, now, 0
	return left, true
}

// clean is what may stand in one line of a log, part of which a stranger wrote.
func clean(s string) string {
	s = strings.TrimSpace(s)
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s[:min(len(s), 500)])
	return s
}
