package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
	"github.com/tandem-cdn/tandem/internal/whatif"
	"github.com/tandem-cdn/tandem/plugin/geosched"
)

// sources are the files that a world is made of, as the Corefile names them.
type sources struct {
	corefile  string
	zone      string
	nodes     string
	policy    string
	geoip     list
	asn       string
	nets      string
	resolvers string
	state     string
	down      list

	block *geosched.Block // of the Corefile; set by resolve, nil without one
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
	fs.StringVar(&s.corefile, prefix+"corefile", "", say("Corefile `file`, which names the others; its geosched block has the words that policies start from"))
	fs.StringVar(&s.nodes, prefix+"nodes", "", say("JSON `file` of nodes and services"))
	fs.StringVar(&s.policy, prefix+"policy", "", say("JSON `file` of policies"))
	fs.Var(&s.geoip, prefix+"geoip", say("MaxMind City or Country `file`; several with commas, or the flag again"))
	fs.StringVar(&s.asn, prefix+"asn", "", say("MaxMind ASN `file`"))
	fs.StringVar(&s.nets, prefix+"nets", "", say("`file` of what the operator knows of networks"))
	fs.StringVar(&s.resolvers, prefix+"resolvers", "", say("`file` of where the clients of resolvers are"))
	fs.StringVar(&s.state, prefix+"state", "", say("`file` that a name server keeps by `feed state`: which nodes are up, how fast, how loaded"))
}

// zoneFlag defines the flag that picks a block of a Corefile.
func (s *sources) zoneFlag(fs *flag.FlagSet) {
	fs.StringVar(&s.zone, "zone", "", "`zone` of the block of the Corefile, if it has several")
}

// resolve reads the Corefile, which names what no flag does.
func (s *sources) resolve() error {
	blocks, err := s.blocks()
	if err != nil || blocks == nil {
		return err
	}
	b, err := pick(blocks, s.zone)
	if err == nil {
		*s = s.of(b)
	}
	return err
}

// blocks are those of the Corefile, if there is one.
func (s *sources) blocks() ([]*geosched.Block, error) {
	if s.corefile == "" {
		return nil, nil
	}
	data, err := os.ReadFile(s.corefile)
	if err != nil {
		return nil, err
	}
	return geosched.ParseCorefile(s.corefile, data)
}

// of returns the sources with a block of the Corefile.
func (s *sources) of(b *geosched.Block) sources {
	all := s.orElse(sources{
		nodes: b.Nodes, policy: b.Policies, geoip: b.Geography.Files, asn: b.Geography.ASN,
		nets: b.Geography.Nets, resolvers: b.Geography.Resolvers,
	})
	all.block = b
	return all
}

// pick returns the first block of a zone, or the only one.
func pick(blocks []*geosched.Block, zone string) (*geosched.Block, error) {
	var zones []string
	for _, b := range blocks {
		if zone == "" && len(blocks) == 1 || slices.Contains(b.Zones, strings.ToLower(strings.TrimSuffix(zone, "."))+".") {
			return b, nil
		}
		zones = append(zones, b.Zones...)
	}
	if zone == "" {
		return nil, misuse("the Corefile has several blocks: give one of their zones with -zone: %s", strings.Join(zones, " "))
	}
	return nil, misuse("-zone: %q is not a zone of the Corefile, which has %s", zone, strings.Join(zones, " "))
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
	geography := s.geography(book.ASNs())
	geography.Nets, geography.Resolvers = s.nets, s.resolvers
	trie, err := geoip.Load(geography)
	if err != nil {
		return nil, err
	}
	w := whatif.New(trie, table, book)
	if s.block != nil {
		w.IgnoreSubnet, w.Trust = !s.block.ECS, s.block.Trust
	}
	return w, nil
}

// base is what policies start from: the words of the Corefile, or what they are when
// they are not written.
func (s *sources) base() steer.Policy {
	if s.block != nil {
		return s.block.Base
	}
	return geosched.BasePolicy()
}

// book has the policies, and nothing but the default without a file.
func (s *sources) book() (*policy.Book, error) {
	if s.policy == "" {
		return policy.Only(s.base()), nil
	}
	data, err := os.ReadFile(s.policy)
	if err != nil {
		return nil, err
	}
	return policy.Parse(s.policy, data, s.base())
}

// geography says what to make the trie of, without the operator's own files, so that
// it tells some autonomous systems apart.
func (s *sources) geography(asns []uint32) geoip.Config {
	c := geoip.Config{Files: s.geoip, ASN: s.asn, ASNs: asns}
	if s.block != nil {
		c.MaxV4, c.MaxV6 = s.block.Geography.MaxV4, s.block.Geography.MaxV6
	}
	return c
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
	if inv == nil && s.block != nil {
		inv = s.block.Inventory
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
		return nil, misuse("there are no nodes: give -nodes, -corefile, or -state with nodes in it")
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
