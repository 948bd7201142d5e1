package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A checker does what a curious person would try, and writes down what it did.
type checker struct {
	stage *stage
	out   io.Writer
	steps int
}

// A chapter is a part of the story.
type chapter struct {
	title string
	tell  func(context.Context) error
}

// run returns the first surprise.
func (c *checker) run(ctx context.Context) error {
	chapters := []chapter{
		{"every place is sent to its nearest edge", c.nearest},
		{"each edge fetches once, then answers itself", c.cached},
		{"what is private is never kept", c.private},
		{"a static file comes whole", c.static},
		{"London dies: its clients move, and nobody else does", c.death},
		{"London returns: its clients come back", c.comeback},
	}
	if c.stage.sharing != nil {
		chapters = append(chapters,
			chapter{"two name servers steer by what both see", c.shared},
			chapter{"one of them is cut off from etcd, and heals", c.partition})
	}
	for _, chapter := range chapters {
		fmt.Fprintf(c.out, "\n== %s\n", chapter.title)
		if err := chapter.tell(ctx); err != nil {
			return fmt.Errorf("%s: %w", chapter.title, err)
		}
	}
	return nil
}

// say writes a command and what came of it.
func (c *checker) say(command, format string, args ...any) {
	c.steps++
	fmt.Fprintf(c.out, "$ %s\n    %s\n", command, fmt.Sprintf(format, args...))
}

func (c *checker) nearest(ctx context.Context) error {
	for _, p := range places {
		if err := c.asked(ctx, p, p.edge); err != nil {
			return err
		}
	}
	a, err := c.stage.ask(ctx, "0.0.0.0/0")
	if err != nil {
		return err
	}
	c.say(c.stage.dig("0.0.0.0/0"), "%s (%s), ttl %d, scope /%d", a.addrs[0], c.stage.node(a), a.ttl, a.scope)
	if a.scope != 0 {
		return fmt.Errorf("a client that hides its network got scope /%d, not /0", a.scope)
	}
	return nil
}

// asked asks from a place and expects a node.
func (c *checker) asked(ctx context.Context, p place, want string) error {
	a, err := c.stage.ask(ctx, p.subnet)
	if err != nil {
		return err
	}
	got := c.stage.node(a)
	c.say(c.stage.dig(p.subnet), "%s (%s), ttl %d, scope /%d", a.addrs[0], got, a.ttl, a.scope)
	if got != want {
		return fmt.Errorf("%s was sent to %s, not to %s", p.city, got, want)
	}
	if a.scope == 0 || a.scope > 24 {
		return fmt.Errorf("the answer for %s has scope /%d, which is not between 1 and 24", p.city, a.scope)
	}
	return nil
}

func (c *checker) cached(ctx context.Context) error {
	for _, e := range edges {
		fetches := c.stage.origin.fetches.Load()
		if err := c.got(ctx, e.id, "/page", "fwd=uri-miss; stored", false); err != nil {
			return err
		}
		if err := c.got(ctx, e.id, "/page", "hit", true); err != nil {
			return err
		}
		if n := c.stage.origin.fetches.Load() - fetches; n != 1 {
			return fmt.Errorf("edge %s fetched %d times from the origin for two requests, not once", e.id, n)
		}
	}
	return nil
}

// got fetches a page and expects words in Cache-Status, and an Age or none.
func (c *checker) got(ctx context.Context, id, path, words string, aged bool) error {
	p, err := c.stage.get(ctx, id, path)
	// Who asks the moment another has the last byte may still share its fetch.
	for try := 0; err == nil && words == "hit" && strings.HasSuffix(p.cacheStatus, "; collapsed") && try < 10; try++ {
		p, err = c.stage.get(ctx, id, path)
	}
	if err != nil {
		return err
	}
	age := ""
	if p.age != "" {
		age = "   Age: " + p.age
	}
	c.say(c.stage.curl(id, path), "%d   Cache-Status: %s%s", p.status, p.cacheStatus, age)
	if p.status != 200 {
		return fmt.Errorf("%s from %s: status %d", path, id, p.status)
	}
	if !strings.Contains(p.cacheStatus, words) || !strings.HasPrefix(p.cacheStatus, id+";") {
		return fmt.Errorf("%s from %s: Cache-Status is %q, want %s; with %q", path, id, p.cacheStatus, id, words)
	}
	if (p.age != "") != aged {
		return fmt.Errorf("%s from %s: Age is %q", path, id, p.age)
	}
	return nil
}

func (c *checker) private(ctx context.Context) error {
	first, err := c.stage.get(ctx, "sea", "/private")
	if err != nil {
		return err
	}
	second, err := c.stage.get(ctx, "sea", "/private")
	if err != nil {
		return err
	}
	c.say(c.stage.curl("sea", "/private")+"   twice", "%q, then %q   Cache-Status: %s", strings.TrimSpace(first.body), strings.TrimSpace(second.body), second.cacheStatus)
	if first.body == second.body || strings.Contains(second.cacheStatus, "hit") || strings.Contains(second.cacheStatus, "stored") {
		return fmt.Errorf("a private answer was kept: %q", second.cacheStatus)
	}
	return nil
}

func (c *checker) static(ctx context.Context) error {
	p, err := c.stage.get(ctx, "bei", "/static/file.bin")
	if err != nil {
		return err
	}
	c.say(c.stage.curl("bei", "/static/file.bin"), "%d, %d bytes", p.status, len(p.body))
	if p.status != 200 || len(p.body) != staticSize || strings.Trim(p.body, "tandem.\n") != "" {
		return fmt.Errorf("/static/file.bin: status %d and %d bytes, want 200 and %d", p.status, len(p.body), staticSize)
	}
	return nil
}

// moveTime is ample for what takes two rounds of checks and a poll of the feed.
const moveTime = 20 * time.Second

func (c *checker) death(ctx context.Context) error {
	london := c.stage.caddies[0]
	command := fmt.Sprintf("kill -9 %d   # %s", london.cmd.Process.Pid, london.name)
	london.kill()
	moved, err := c.moves(ctx, command, places[0], func(node string) bool { return node != "lon" })
	if err != nil {
		return err
	}
	for _, p := range places[1:] {
		if err := c.asked(ctx, p, p.edge); err != nil {
			return err
		}
	}
	if err := c.seen(ctx, healthfeed.Down); err != nil {
		return err
	}
	// The clients that moved are served where they went.
	return c.got(ctx, moved, "/page", "hit", true)
}

// moves waits until a place's clients are sent to a node that is wanted, returns
// it, and insists that every query on the way is answered.
func (c *checker) moves(ctx context.Context, command string, p place, wanted func(node string) bool) (node string, err error) {
	began := time.Now()
	queries := 0
	err = eventually(ctx, moveTime, func() error {
		a, err := c.stage.ask(ctx, p.subnet)
		if err != nil {
			return fatal{err}
		}
		queries++
		if node = c.stage.node(a); !wanted(node) {
			return fmt.Errorf("%s is still sent to %s", p.city, node)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	c.say(command, "%s is sent to %s after %.1f s; each of %d queries on the way was answered", p.city, node, time.Since(began).Seconds(), queries)
	return node, nil
}

// seen waits until the feed, as another process reads it, has London in a state.
func (c *checker) seen(ctx context.Context, want healthfeed.State) error {
	if err := eventually(ctx, moveTime, func() error { return c.stage.stateIs("lon", want) }); err != nil {
		return err
	}
	status, _ := c.stage.feed.Table().Lookup("lon")
	c.say("curl http://"+c.stage.addresses.hub.String()+"/v1/nodes", "lon is %s (%s)", status.State, status.Reason)
	return nil
}

func (c *checker) comeback(ctx context.Context) error {
	london := c.stage.caddies[0]
	if err := london.start(); err != nil {
		return err
	}
	if _, err := c.moves(ctx, "caddy "+strings.Join(london.args, " "), places[0], func(node string) bool { return node == "lon" }); err != nil {
		return err
	}
	if err := c.seen(ctx, healthfeed.Up); err != nil {
		return err
	}
	// Its memory went with it.
	if err := c.got(ctx, "lon", "/page", "fwd=uri-miss; stored", false); err != nil {
		return err
	}
	return c.got(ctx, "lon", "/page", "hit", true)
}
