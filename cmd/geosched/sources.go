package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
	"github.com/tandem-cdn/tandem/internal/whatif"
)

// sources are the files that a world is made of, as the Corefile names them.
type sources struct {
	nodes     string
	policy    string
	geoip     list
	asn       string
	nets      string
	resolvers string
	state     string
	down      list
}

// list is a flag that is given several times, or with commas.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(value string) error {
	*l = append(*l, strings.Split(value, ",")...)
	return nil
}

// flags defines the flags for the sources. Those that stand for what is new begin
// with "new-", and where they are absent the others hold.
func (s *sources) flags(fs *flag.FlagSet, prefix string) {
	say := func(usage string) string {
		if prefix != "" {
			return usage + ", after the change"
		}
		return usage
	}
	fs.StringVar(&s.nodes, prefix+"nodes", "", say("JSON `file` of nodes and services"))
	fs.StringVar(&s.policy, prefix+"policy", "", say("JSON `file` of policies"))
	fs.Var(&s.geoip, prefix+"geoip", say("MaxMind City or Country `file`; several with commas, or the flag again"))
	fs.StringVar(&s.asn, prefix+"asn", "", say("MaxMind ASN `file`"))
	fs.StringVar(&s.nets, prefix+"nets", "", say("`file` of what the operator knows of networks"))
	fs.StringVar(&s.resolvers, prefix+"resolvers", "", say("`file` of where the clients of resolvers are"))
	fs.StringVar(&s.state, prefix+"state", "", say("`file` that a name server keeps by `feed state`: which nodes are up, how fast, how loaded"))
}

// orElse takes from o what s lacks.
func (s sources) orElse(o sources) sources {
	for _, f := range []struct{ mine, other *string }{
		{&s.nodes, &o.nodes}, {&s.policy, &o.policy}, {&s.asn, &o.asn}, {&s.nets, &o.nets}, {&s.resolvers, &o.resolvers}, {&s.state, &o.state},
	} {
		if *f.mine == "" {
			*f.mine = *f.other
		}
	}
	if len(s.geoip) == 0 {
		s.geoip = o.geoip
	}
	return s
}

// world reads the files.
func (s *sources) world() (*whatif.World, error) {
	table, err := s.table(time.Now())
	if err != nil {
		return nil, err
	}
	book, err := s.book()
	if err != nil {
		return nil, err
	}
	trie, err := geoip.Load(s.geography(book))
	if err != nil {
		return nil, err
	}
	return whatif.New(trie, table, book), nil
}

// base is what the Corefile begins with, too.
var base = steer.Policy{Answers: 1, Near: -1, TTL: steer.TTL{Normal: 300, Degraded: 60}}

// book has the policies, and nothing but the default without a file.
func (s *sources) book() (*policy.Book, error) {
	if s.policy == "" {
		return policy.Only(base), nil
	}
	data, err := os.ReadFile(s.policy)
	if err != nil {
		return nil, err
	}
	return policy.Parse(s.policy, data, base)
}

// geography says what to make the trie of, so that the rules of a book hold in it.
func (s *sources) geography(book *policy.Book) geoip.Config {
	return geoip.Config{Files: s.geoip, ASN: s.asn, Nets: s.nets, Resolvers: s.resolvers, ASNs: book.ASNs()}
}

// table is the health table: what the state file knows, and everybody up without one.
func (s *sources) table(now time.Time) (*healthfeed.Table, error) {
	var inv *healthfeed.Inventory
	var seen []healthfeed.Seen
	if s.nodes != "" {
		data, err := os.ReadFile(s.nodes)
		if err != nil {
			return nil, err
		}
		if inv, err = healthfeed.ParseInventory(s.nodes, data); err != nil {
			return nil, err
		}
	}
	newest := now
	if s.state != "" {
		data, err := os.ReadFile(s.state)
		if err != nil {
			return nil, err
		}
		snapshot, err := healthfeed.ParseSnapshot(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.state, err)
		}
		if inv == nil {
			inv = snapshot.Inventory
		}
		// How long ago it was written does not matter: it is asked what was then.
		for i := range snapshot.Records {
			r := &snapshot.Records[i]
			seen = append(seen, healthfeed.Seen{Record: r.Record, At: now.Add(-time.Duration(r.AgeMS) * time.Millisecond)})
			if i == 0 || seen[i].At.After(newest) {
				newest = seen[i].At
			}
		}
	}
	if inv == nil {
		return nil, misuse("there are no nodes: give -nodes, or -state with nodes in it")
	}
	table := healthfeed.Merge(inv, seen, nil, newest)
	for _, id := range s.down {
		i := inv.Lookup(id)
		if i < 0 {
			return nil, misuse("-down: there is no node %q", id)
		}
		status := &table.Nodes[i]
		status.State, status.Reason, status.Health = healthfeed.Down, "-down", 0
	}
	return table, nil
}
