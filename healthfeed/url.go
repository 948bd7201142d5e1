package healthfeed

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A pace says how often a hub is asked, and how patiently.
type pace struct {
	interval time.Duration // between two polls, give or take a tenth
	timeout  time.Duration // for one poll, body included, and for a stream to begin
	silence  time.Duration // after which a stream is dead
	again    time.Duration // how long a hub without streams is polled before it is asked for one again
	pauses   [3]time.Duration
}

// pollPace: a hub says something every second, and a poll is mostly answered with
// 304 and a few hundred bytes.
var pollPace = pace{
	interval: time.Second,
	timeout:  5 * time.Second,
	silence:  3 * time.Second,
	again:    time.Minute,
	pauses:   [3]time.Duration{100 * time.Millisecond, time.Second, 30 * time.Second},
}

// FromURL returns a Source that follows a [Hub]: by its stream, so that it hears of
// a change at once, or where there is none by a poll every second. Without a path,
// /v1/feed is asked, and /v1/watch beside it. With a nil client, connections are made directly, without a
// proxy, and redirects are not followed. Whatever is not a snapshot is refused
// whole, logged once, and asked for again after a pause: 0.1 s, then 1 s, then twice
// as long each time up to 30 s, give or take a half. A stream that is silent for 3 s is dead. Use
// [ParseFrom] to refuse a bad url at start.
func FromURL(url string, client *http.Client) Source {
	return &urlSource{url: url, client: client, pace: pollPace}
}

// feedURL completes a url, which must be absolute and http or https.
func feedURL(raw string) (*url.URL, error) {
	u, err := ParseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("bad feed url %w", err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = feedPath
	}
	return u, nil
}

type urlSource struct {
	url    string
	client *http.Client // nil: one that Run makes, and whose connections it closes
	tls    *tls.Config  // of that one
	pace   pace
}

func (s *urlSource) String() string { return "feed " + hidden(s.url) }

func (s *urlSource) Run(ctx context.Context, f *Feed) error {
	u, err := feedURL(s.url)
	if err != nil {
		return err
	}
	h := hearing{url: u.String(), client: s.client, pace: s.pace, feed: f}
	if h.request, err = http.NewRequest(http.MethodGet, u.String(), nil); err != nil {
		return err
	}
	if h.client == nil {
		h.client = s.direct(ctx)
	}
	// Errors of the network name changing ports; only the first is logged.
	h.complaint = complaint{log: f.config.Log, what: s.String(), once: true}
	h.streams = strings.HasSuffix(u.Path, feedPath)
	var failures int
	for {
		before := h.heard
		err := h.listen(ctx)
		if ctx.Err() != nil {
			return nil
		}
		h.complaint.note(err)
		if failures++; h.heard != before {
			failures = 1
		}
		select {
		case <-time.After(s.pace.pause(failures)):
		case <-ctx.Done():
			return nil
		}
	}
}

// direct is a client whose connections end with ctx.
func (s *urlSource) direct(ctx context.Context) *http.Client {
	client := directClient()
	transport := client.Transport.(*http.Transport)
	transport.TLSClientConfig = s.tls.Clone() // the transport writes into it
	transport.DialContext = dialUntil(ctx, transport.DialContext)
	return client
}

// pause is how long to wait after so many failures in a row, give or take a half: the
// first two are for a hub that restarts, and the rest spares one that is gone.
func (p *pace) pause(failures int) time.Duration {
	pause := p.pauses[0]
	if failures > 1 {
		pause = min(p.pauses[1]<<min(failures-2, 20), p.pauses[2])
	}
	return pause/2 + rand.N(pause)
}

// directClient is the client for those who have no wishes.
func directClient() *http.Client {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    2 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialUntil makes connections that are closed when until ends, at the latest. A
// transport has no such end: a stream that was broken off may keep its connection from
// being idle when the idle ones are closed.
func dialUntil(until context.Context, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &boundConn{conn, context.AfterFunc(until, func() { conn.Close() })}, nil
	}
}

// A boundConn is no longer waited for once it is closed.
type boundConn struct {
	net.Conn
	unbind func() bool
}

func (c *boundConn) Close() error {
	c.unbind()
	return c.Conn.Close()
}
