package healthfeed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"
)

// A pace says how often a hub is asked, and how patiently.
type pace struct {
	interval time.Duration // between two polls, give or take a tenth
	timeout  time.Duration // for one poll, body included
	backoff  time.Duration // the longest pause while the hub does not answer
}

// pollPace is one second, since most answers are 304 and a few hundred bytes; and
// a short back-off, so that a hub which is back is heard soon.
var pollPace = pace{interval: time.Second, timeout: 5 * time.Second, backoff: 5 * time.Second}

// FromURL returns a Source that polls a [Hub] once a second. Without a path,
// /v1/feed is asked. With a nil client, connections are made directly, without a
// proxy, and redirects are not followed. Whatever is not a snapshot is refused
// whole, logged once, and asked for again after a pause that grows to 5 s. Use
// [ParseFrom] to refuse a bad url at start.
func FromURL(url string, client *http.Client) Source { return &urlSource{url, client, pollPace} }

// feedURL completes a url, which must be absolute and http or https.
func feedURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("bad feed url %q: %w", raw, errors.Unwrap(err))
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("bad feed url %q: not http://host or https://host", raw)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = feedPath
	}
	return u, nil
}

type urlSource struct {
	url    string
	client *http.Client
	pace   pace
}

func (s *urlSource) String() string {
	u, err := url.Parse(s.url)
	if err != nil {
		return "feed"
	}
	return "feed " + u.Redacted()
}

func (s *urlSource) Run(ctx context.Context, f *Feed) error {
	u, err := feedURL(s.url)
	if err != nil {
		return err
	}
	p := poll{url: u.Redacted(), client: s.client, timeout: s.pace.timeout, feed: f}
	if p.request, err = http.NewRequest(http.MethodGet, u.String(), nil); err != nil {
		return err
	}
	if p.client == nil {
		p.client = directClient()
		defer p.client.CloseIdleConnections()
	}
	// Errors of the network name changing ports; only the first is logged.
	complaint := complaint{log: f.config.Log, what: s.String(), once: true}
	pause := s.pace.interval
	for {
		err := p.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		complaint.note(err)
		if err == nil {
			pause = s.pace.interval
		} else {
			pause = min(2*pause, s.pace.backoff)
		}
		select {
		case <-time.After(pause*9/10 + rand.N(pause/5)):
		case <-ctx.Done():
			return nil
		}
	}
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

// A poll asks one hub again and again.
type poll struct {
	// set at construction
	url     string
	client  *http.Client
	timeout time.Duration
	request *http.Request
	feed    *Feed

	etag string // of the last snapshot that was taken
}

// once asks the hub once and offers what is new.
func (p *poll) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	request := p.request.Clone(ctx)
	if p.etag != "" {
		request.Header.Set("If-None-Match", p.etag)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotModified && p.etag != "":
		return nil
	case response.StatusCode != http.StatusOK:
		p.feed.refused.Add(1)
		return fmt.Errorf("%s answers %d", p.url, response.StatusCode)
	}
	started := time.Now()
	data, err := io.ReadAll(io.LimitReader(response.Body, MaxSnapshot+1))
	if err != nil {
		return fmt.Errorf("%s: %w", p.url, err)
	}
	// A snapshot grows older while it is being sent.
	if err := p.feed.receive(data, time.Since(started)); err != nil {
		return fmt.Errorf("%s: %w", p.url, err)
	}
	p.etag = response.Header.Get("ETag")
	return nil
}
