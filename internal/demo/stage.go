package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// edges are the nodes of the demo.
var edges = []struct {
	id, city string
	lat, lon float64
}{
	{"lon", "London", 51.51, -0.13},
	{"sea", "Seattle", 47.61, -122.33},
	{"bei", "Beijing", 39.90, 116.41},
}

// A stage is everything that runs.
type stage struct {
	addresses *addresses
	dir       string
	origin    *origin
	coredns   *process
	caddies   []*process // one for each of edges
	sharing   *sharing   // nil without etcd

	// feed is this process's own view of the health feed, and endFeed stops it.
	feed    *healthfeed.Feed
	endFeed func()
}

// start starts everything and waits until it works. every is the interval of
// the health checks.
func start(ctx context.Context, o Options, ports func() (*addresses, error), every time.Duration) (*stage, error) {
	if o.GeoIP != "" {
		if _, err := os.Stat(o.GeoIP); err != nil {
			return nil, fmt.Errorf("-geoip: %w", err)
		}
	}
	a, err := ports()
	if err != nil {
		return nil, err
	}
	dir, err := workDir()
	if err != nil {
		return nil, err
	}
	s := &stage{addresses: a, dir: dir, endFeed: func() {}}
	if err := s.begin(ctx, o, every); err != nil {
		s.printLogs(o.Out)
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *stage) begin(ctx context.Context, o Options, every time.Duration) error {
	if o.Etcd != "" {
		inventory, err := s.inventory(every)
		if err != nil {
			return err
		}
		if err := s.share(ctx, o.Etcd, inventory); err != nil {
			return err
		}
	}
	if err := s.writeConfigs(o.GeoIP, every); err != nil {
		return err
	}
	var err error
	if s.origin, err = startOrigin(s.addresses.origin); err != nil {
		return err
	}
	s.coredns = &process{name: "coredns", program: o.CoreDNS, dir: s.dir, args: []string{"-conf", "Corefile"}}
	if s.sharing != nil {
		s.sharing.second = &process{name: "coredns-2", program: o.CoreDNS, dir: s.dir, args: []string{"-conf", "Corefile-2"}}
	}
	for _, e := range edges {
		s.caddies = append(s.caddies, &process{name: "caddy-" + e.id, program: o.Caddy, dir: s.dir,
			args: []string{"run", "--config", e.id + ".Caddyfile"}})
	}
	for _, p := range s.processes() {
		if err := p.start(); err != nil {
			return err
		}
	}
	if err := s.openFeed(); err != nil {
		return err
	}
	return eventually(ctx, 30*time.Second, s.ready)
}

// processes lists the servers that were made so far.
func (s *stage) processes() []*process {
	all := slices.Clone(s.caddies)
	if s.coredns != nil {
		all = append(all, s.coredns)
	}
	if s.sharing != nil && s.sharing.second != nil {
		all = append(all, s.sharing.second)
	}
	return all
}

// openFeed makes this process one more reader of the feed that CoreDNS serves.
func (s *stage) openFeed() error {
	feed, err := healthfeed.Open(healthfeed.Config{
		Sources: []healthfeed.Source{healthfeed.FromURL("http://"+s.addresses.hub.String(), nil)},
		Log:     quiet,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed.Run(ctx)
	}()
	s.feed, s.endFeed = feed, func() { cancel(); <-done }
	return nil
}

// ready returns nil when every server answers and every edge is measured as up.
func (s *stage) ready() error {
	for _, p := range s.processes() {
		if err := p.alive(); err != nil {
			return fatal{err}
		}
	}
	for i := range edges {
		if _, err := s.health(i); err != nil {
			return err
		}
	}
	resp, err := http.Get("http://" + s.addresses.ready.String() + "/ready")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("CoreDNS is not ready: %s", resp.Status)
	}
	for _, e := range edges {
		if err := s.stateIs(e.id, healthfeed.Up); err != nil {
			return err
		}
	}
	return nil
}

// health asks an edge's health page.
func (s *stage) health(i int) (string, error) {
	resp, err := http.Get("http://" + s.addresses.edges[i].http.String() + "/healthz")
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("edge %s: %s", edges[i].id, resp.Status)
	}
	return resp.Status, nil
}

// stateIs returns an error unless the feed has the node in that state.
func (s *stage) stateIs(id string, want healthfeed.State) error {
	status, known := s.feed.Table().Lookup(id)
	switch {
	case !known:
		return fmt.Errorf("the feed does not know node %s", id)
	case status.State != want:
		return fmt.Errorf("node %s is %s in the feed (%s), not %s", id, status.State, status.Reason, want)
	}
	return nil
}

// stop ends everything and removes the folder. It returns an error when a server
// had ended before, or did not end when asked.
func (s *stage) stop() error {
	s.endFeed()
	var errs []error
	for _, p := range s.processes() {
		errs = append(errs, p.stop())
	}
	errs = append(errs, s.sharing.stop())
	if s.origin != nil {
		s.origin.stop()
	}
	os.RemoveAll(s.dir)
	return errors.Join(errs...)
}

// printLogs shows the end of every server's log.
func (s *stage) printLogs(out io.Writer) {
	for _, p := range s.processes() {
		if p.cmd != nil {
			fmt.Fprintf(out, "\n%s said last:\n%s\n", p.name, p.logTail(12))
		}
	}
}

// path returns the name of a file in the stage's folder.
func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// A fatal error cannot be waited away.
type fatal struct{ error }

// eventually calls f until it returns nil, or a fatal error, or the time is up.
func eventually(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		if f, ok := err.(fatal); ok {
			return f.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", limit, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
