package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// dig is the command that asks what ask asks.
func (s *stage) dig(subnet string) string {
	return fmt.Sprintf("dig @%s -p %d %s +subnet=%s", s.addresses.dns.Addr(), s.addresses.dns.Port(), name, subnet)
}

// curl is the command that gets what get gets.
func (s *stage) curl(id, path string) string {
	for i, e := range edges {
		if e.id != id {
			continue
		}
		a := s.addresses.edges[i]
		port := a.http.Port()
		return fmt.Sprintf("curl -i --resolve %s:%d:%s http://%s:%d%s", name, port, a.http.Addr(), name, port, path)
	}
	return ""
}

// printInvitation tells a person what runs and what to try.
func (s *stage) printInvitation(out io.Writer) {
	fmt.Fprintf(out, "\nTandem is running in %s\n\n", s.dir)
	fmt.Fprintf(out, "  CoreDNS   %s   feed http://%s/v1/nodes\n", s.addresses.dns, s.addresses.hub)
	for i, e := range edges {
		fmt.Fprintf(out, "  %-8s  http://%s   admin http://%s   kill -9 %d\n", e.city, s.addresses.edges[i].http, s.addresses.edges[i].admin, s.caddies[i].cmd.Process.Pid)
	}
	if e := s.sharing; e != nil {
		fmt.Fprintf(out, "  CoreDNS 2 %s   feed http://%s/v1/nodes\n  etcd      %s\n", e.dns, e.hub, e.client)
	}
	fmt.Fprintf(out, "  origin    http://%s\n\nTry in another terminal:\n\n", s.addresses.origin)
	for _, p := range places {
		fmt.Fprintf(out, "  %-60s # %s\n", s.dig(p.subnet), p.city)
	}
	for _, e := range edges {
		fmt.Fprintf(out, "  %s\n", s.curl(e.id, "/page"))
	}
	fmt.Fprintf(out, "  kill -9 %d   # and see London's clients move; it is started again after %v\n", s.caddies[0].cmd.Process.Pid, restartAfter)
	fmt.Fprintf(out, "\nCtrl-C ends it. Meanwhile a client in each place asks every two seconds:\n\n")
}

// restartAfter is how long a killed edge stays dead in the live view.
const restartAfter = 15 * time.Second

// watch prints, every two seconds, where each place is sent and what it gets
// there, until ctx ends. An edge that was killed is started again after a while.
func (s *stage) watch(ctx context.Context, out io.Writer) error {
	titles := []any{"time", places[0].city, places[1].city, places[2].city, "states", "origin", ""}
	if s.sharing != nil {
		titles[len(titles)-1] = "  votes"
	}
	fmt.Fprintf(out, "%-8s  %-22s %-22s %-22s  %-38s %-11s%s\n", titles...)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	died := make([]time.Time, len(edges))
	for n := 0; ; n++ {
		line := []string{time.Now().Format(time.TimeOnly) + " "}
		for _, p := range places {
			line = append(line, fmt.Sprintf("%-22s", s.visit(ctx, p, fmt.Sprintf("/page-%d", n%3))))
		}
		line = append(line, fmt.Sprintf(" %-38s", s.states()), fmt.Sprintf("%-11s", fmt.Sprintf("%d fetches", s.origin.fetches.Load())), s.votes())
		fmt.Fprintln(out, strings.TrimRight(strings.Join(line, " "), " "))
		for i, p := range s.caddies {
			if p.alive() == nil {
				died[i] = time.Time{}
			} else if died[i].IsZero() {
				died[i] = time.Now()
			} else if time.Since(died[i]) > restartAfter {
				if err := p.start(); err != nil {
					return err
				}
				fmt.Fprintf(out, "          %s started again, kill -9 %d\n", edges[i].city, p.cmd.Process.Pid)
			}
		}
		if err := s.coredns.alive(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// visit does what a client in a place does: ask, then get.
func (s *stage) visit(ctx context.Context, p place, path string) string {
	a, err := s.ask(ctx, p.subnet)
	if err != nil {
		return "no answer"
	}
	id := s.node(a)
	got, err := s.get(ctx, id, path)
	if err != nil {
		return "→ " + id + "  unreachable"
	}
	word := "miss"
	if strings.Contains(got.cacheStatus, "hit") {
		word = "hit"
	}
	return fmt.Sprintf("→ %s /%-2d ttl %-3d %s", id, a.scope, a.ttl, word)
}

// states lists the nodes as the feed has them.
func (s *stage) states() string {
	t := s.feed.Table()
	var words []string
	for i := range t.Nodes {
		words = append(words, t.Inventory.Nodes[i].ID+" "+t.Nodes[i].State.String())
	}
	return strings.Join(words, ", ")
}
