package demo

import (
	"context"
	"fmt"
	"io"
	"time"
)

// abstainTime is ample for a vote to become too old, 45 s, and healTime for a prober
// that comes back, which waits up to 20 s so as not to come with all others.
const (
	abstainTime = 70 * time.Second
	healTime    = 60 * time.Second
)

// shared checks that both name servers go by both votes.
func (c *checker) shared(ctx context.Context) error {
	e := c.stage.sharing
	if err := eventually(ctx, healTime, c.bothSee(2, 2)); err != nil {
		return err
	}
	c.say("curl http://"+c.stage.addresses.hub.String()+"/v1/nodes", "every edge is up: 2 of 2 probers")
	c.say("curl http://"+e.hub.String()+"/v1/nodes", "every edge is up: 2 of 2 probers")
	return nil
}

// bothSee says whether the name servers judge by so many votes.
func (c *checker) bothSee(first, second int) func() error {
	return func() error {
		if err := voters(c.stage.addresses.hub, first); err != nil {
			return err
		}
		return voters(c.stage.sharing.hub, second)
	}
}

// partition cuts the first name server off from etcd, and heals that.
func (c *checker) partition(ctx context.Context) error {
	link := c.stage.sharing.link
	began, queries := time.Now(), 0
	answered := func(then func() error) func() error {
		return func() error {
			for _, p := range places {
				a, err := c.stage.ask(ctx, p.subnet)
				if err != nil {
					return fatal{err}
				}
				if node := c.stage.node(a); node != p.edge {
					return fatal{fmt.Errorf("%s was sent to %s, though nothing but etcd is away", p.city, node)}
				}
				queries++
			}
			return then()
		}
	}
	link.setCut(true)
	if err := eventually(ctx, abstainTime, answered(c.bothSee(1, 1))); err != nil {
		return err
	}
	c.say("# the link from the first name server to etcd is cut",
		"after %.0f s each of the two goes by its own vote: 1 of 1 probers. Every edge is up, and each of %d queries was answered with the nearest",
		time.Since(began).Seconds(), queries)
	began, queries = time.Now(), 0
	link.setCut(false)
	if err := eventually(ctx, healTime, answered(c.bothSee(2, 2))); err != nil {
		return err
	}
	c.say("# the link is healed", "after %.1f s both go by both votes: 2 of 2 probers; each of %d queries was answered with the nearest",
		time.Since(began).Seconds(), queries)
	return nil
}

// showPartitions cuts the link for a minute and a quarter of every two and a half, and
// says so, until ctx ends.
func (s *stage) showPartitions(ctx context.Context, out io.Writer) {
	for {
		for _, cut := range []bool{true, false} {
			select {
			case <-time.After(75 * time.Second):
			case <-ctx.Done():
				return
			}
			s.sharing.link.setCut(cut)
			if cut {
				fmt.Fprintln(out, "-- the first name server is cut off from etcd: in 45 s it goes by its own vote, and clients notice nothing")
			} else {
				fmt.Fprintln(out, "-- the link to etcd is healed: within half a minute both go by both votes")
			}
		}
	}
}
