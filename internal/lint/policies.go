package lint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
	"github.com/tandem-cdn/tandem/internal/whatif"
)

// Bounds of TTLs that nobody has to explain, in seconds.
const (
	shortTTL  = 5
	longTTL   = 3600
	steadyTTL = 120 // of answers while a node is full; see doc/design on the control of load
)

// policies looks at the policies of a file, as they are used by the services.
func (r *run) policies() {
	if r.ruled == nil {
		return
	}
	users := make(map[string][]string) // policy → services
	if r.inventory != nil {
		users[cmp.Or(r.inventory.Services[""].Policy, policy.Default)] = []string{""}
		for _, name := range slices.Sorted(maps.Keys(r.inventory.Services)) {
			p := cmp.Or(r.inventory.Services[name].Policy, policy.Default)
			if name != "" {
				users[p] = append(users[p], name)
			}
		}
	}
	for _, name := range r.book.Names() {
		p, _ := r.book.Lookup(name)
		found := func(field string, s Severity, check, format string, args ...any) {
			r.add(r.Policy.Name, r.ruled.line("policies", name, field), s, check, "policy %q: %s", name, fmt.Sprintf(format, args...))
		}
		if r.inventory != nil {
			if len(users[name]) == 0 && name != policy.Default {
				found("", Warning, "unused", "no service uses it")
			}
			for _, s := range p.Strangers(r.inventory) {
				found("rules", Warning, "stranger", "%q picks no node", s)
			}
			if p.Beta > 0 && r.weighs(name) && !r.measured() {
				found("weights", Warning, "unmeasured", "latency counts, and no node has checks to measure it")
			}
			for _, service := range users[name] {
				if who := r.stranded(service, p); len(who) > 0 {
					found("rules", Warning, "nobody-left", "its rules leave no node of %s to clients in %s: they get the others all the same", serviceName(service), some(who))
				}
			}
		}
		r.ttl(p.TTL, func(s Severity, check, format string, args ...any) { found("ttl", s, check, format, args...) })
		if p.AllDown.Do == steer.Empty {
			found("alldown", Warning, "empty", "when all are down names have no addresses, and resolvers remember that for everybody (RFC 7871, section 7.4)")
		}
	}
}

// ttl looks at the TTLs of a policy.
func (r *run) ttl(t steer.TTL, found func(s Severity, check, format string, args ...any)) {
	switch {
	case t.Normal == 0:
		found(Warning, "ttl", "the TTL is 0, so every connection of a client costs a query")
	case t.Normal < shortTTL:
		found(Note, "ttl", "the TTL of %d s is short, and resolvers may round it up", t.Normal)
	case t.Normal > longTTL && !t.Adaptive:
		found(Warning, "ttl", "the TTL is %d s, and for so long clients may stay with a node that has died", t.Normal)
	}
	if t.Normal > 0 && t.Degraded == t.Normal && !t.Adaptive {
		found(Note, "ttl", "the TTL is no shorter while a node is down")
	}
	if t.Degraded > steadyTTL {
		found(Warning, "ttl", "the TTL is %d s while a node is full, and above %d s the load of nodes swings", t.Degraded, steadyTTL)
	}
}

// weighs reports whether a policy says itself how much latency counts.
func (r *run) weighs(name string) bool {
	of := member(member(r.ruled.top, "policies"), name)
	return member(member(of, "weights"), "beta").Value != nil
}

// measured reports whether any node has checks.
func (r *run) measured() bool {
	return slices.ContainsFunc(r.inventory.Nodes, func(n healthfeed.Node) bool { return len(n.Checks) > 0 })
}

// stranded returns the clients to whom the rules of a policy leave nobody of a
// service: those of the places that the geography has, and of the places that rules
// are about.
func (r *run) stranded(service string, p *steer.Policy) []string {
	if len(p.Rules) == 0 {
		return nil
	}
	w := whatif.New(r.trie, healthfeed.Merge(r.inventory, nil, nil, time.Time{}), r.book)
	type place struct {
		continent, country string
		asn                uint32
	}
	var places []place
	known := func(is func(place) bool) bool { return slices.ContainsFunc(places, is) }
	if r.trie != nil {
		for _, c := range r.trie.Classes() {
			places = append(places, place{c.Continent, c.Country, c.ASN})
		}
	}
	for _, rule := range p.Rules {
		for _, c := range rule.Continents {
			if !known(func(p place) bool { return p.continent == c }) {
				places = append(places, place{continent: c})
			}
		}
		for _, c := range rule.Countries {
			if !known(func(p place) bool { return p.country == c }) {
				places = append(places, place{country: c})
			}
		}
		for _, n := range rule.ASNs {
			if !known(func(p place) bool { return p.asn == n }) {
				places = append(places, place{asn: n})
			}
		}
	}
	asked := make(map[place]bool)
	var who []string
	for _, c := range places {
		if asked[c] {
			continue
		}
		asked[c] = true
		class := geoip.Class{Continent: c.continent, Country: c.country, ASN: c.asn}
		if w.Explain(service, &class, steer.Any, 0).Why != steer.Outside {
			continue
		}
		var words []string
		for _, word := range []string{c.continent, c.country} {
			if word != "" {
				words = append(words, word)
			}
		}
		if c.asn != 0 {
			words = append(words, fmt.Sprintf("AS%d", c.asn))
		}
		if len(words) == 0 {
			words = []string{"places that nobody knows"}
		}
		who = append(who, strings.Join(words, " "))
	}
	slices.Sort(who)
	return who
}

// some is the first few words of a list.
func some(words []string) string {
	const most = 8
	if n := len(words) - most; n > 1 {
		return strings.Join(words[:most], ", ") + fmt.Sprintf(" and %d others", n)
	}
	return strings.Join(words, ", ")
}

func serviceName(name string) string {
	if name == "" {
		return "all"
	}
	return fmt.Sprintf("service %q", name)
}
