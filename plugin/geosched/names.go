package geosched

import (
	"fmt"
	"sync/atomic"

	"github.com/tandem-cdn/tandem/internal/names"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// steered is what a name is steered to.
type steered = names.Target

// ttlOf is what the TTLs of a policy are for a name, which may have one of its own.
func ttlOf(s *steered, ttl steer.TTL) steer.TTL {
	if s.OwnTTL {
		ttl.Normal, ttl.Degraded = s.TTL, min(ttl.Degraded, s.TTL)
	}
	return ttl
}

// nameTable is the names of a block: those of its Corefile, and those of the records
// file as it was read last.
type nameTable struct {
	config  *config
	version atomic.Pointer[nameVersion] // written by setup, and then by who reads the records
}

// nameVersion is the names at some time. It does not change.
type nameVersion struct {
	index *names.Index

	// When it took the place of another, in seconds since 1970; 0 if it was the first.
	serial uint32
}

// newNames returns the names of a Corefile, without any records.
func newNames(c *config) (*nameTable, error) {
	index, err := names.New(c.Zones)
	if err != nil {
		return nil, err
	}
	n := &nameTable{config: c}
	if index, err = n.with(index); err != nil {
		return nil, err
	}
	n.version.Store(&nameVersion{index: index})
	return n, nil
}

// with returns the names of records and of the Corefile. What is said twice must be
// the same, and an error has the place of the line that says otherwise.
func (n *nameTable) with(records *names.Index) (*names.Index, error) {
	e := records.Edit()
	for _, s := range n.config.Steer {
		if err := e.Steer(s.Name, e.Key([]byte(s.Name)), steered{Service: s.Service}, 0); err != nil {
			return nil, s.At.wrap(err)
		}
	}
	for _, zone := range n.config.Zones {
		for _, name := range n.config.NS[zone] {
			if names.ZoneOf(n.config.Zones, name) < 0 {
				continue
			}
			if err := e.Exist(name); err != nil {
				return nil, n.config.At["ns"].wrap(fmt.Errorf("name server %q: %w", name, err))
			}
		}
	}
	return e.Commit(), nil
}

// found is what a name comes to.
type found struct {
	zone    string   // that it is in, or "" when it is in none of ours
	steered *steered // what it is steered to, or nil
	exists  bool
}

// find looks for qname, which is absolute and in lower case.
func (n *nameTable) find(qname string) found {
	f := n.version.Load().index.Find(qname)
	return found{f.Zone, f.Target, f.Exists}
}

// services returns the services that names are steered to.
func (n *nameTable) services() *names.Services { return n.version.Load().index.Services() }
