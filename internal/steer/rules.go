package steer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A Rule keeps some nodes from some clients.
type Rule struct {
	// Include leaves these clients no nodes but those of Nodes, or of another
	// rule that includes. Otherwise it takes those of Nodes from them.
	Include bool
	Nodes   []Selector

	// Continents (two letters, "EU"), Countries (ISO 3166-1 alpha-2, "GB") and
	// ASNs are the clients. One who is of one of each kind that is given is
	// concerned; if none is given, everybody is.
	Continents []string
	Countries  []string
	ASNs       []uint32
}

// MaxRules is the most rules that a Policy can have.
const MaxRules = 64

// concerns reports whether the rule is about a client.
func (r *Rule) concerns(req *Request) bool {
	return (len(r.Continents) == 0 || slices.Contains(r.Continents, req.Continent)) &&
		(len(r.Countries) == 0 || slices.Contains(r.Countries, req.Country)) &&
		(len(r.ASNs) == 0 || slices.Contains(r.ASNs, req.ASN))
}

// A Selector picks one node by its ID, or all that carry some labels.
type Selector struct {
	ID     string
	Labels map[string]string
}

// ParseSelector reads an ID, or labels as in region=eu,isp=as64500.
func ParseSelector(word string) (Selector, error) {
	if !strings.Contains(word, "=") {
		if err := healthfeed.CheckName(word); err != nil {
			return Selector{}, fmt.Errorf("node %w", err)
		}
		return Selector{ID: word}, nil
	}
	s := Selector{Labels: make(map[string]string)}
	for pair := range strings.SplitSeq(word, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if _, again := s.Labels[name]; !ok || name == "" || again {
			return Selector{}, fmt.Errorf("%.80q is neither the id of a node nor labels such as region=eu,isp=as64500", word)
		}
		s.Labels[name] = value
	}
	return s, nil
}

// String returns what ParseSelector reads.
func (s Selector) String() string {
	if s.Labels == nil {
		return s.ID
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		pairs = append(pairs, name+"="+s.Labels[name])
	}
	return strings.Join(pairs, ",")
}

// Matches reports whether the selector picks a node.
func (s Selector) Matches(n *healthfeed.Node) bool {
	if s.Labels == nil {
		return n.ID == s.ID
	}
	for name, value := range s.Labels {
		if got, ok := n.Labels[name]; !ok || got != value {
			return false
		}
	}
	return true
}

// Bias makes nodes better or worse than they are.
type Bias struct {
	Nodes  Selector
	Factor float64 // what the score is multiplied with, more than 0
}

// Strangers returns the selectors of the policy that pick no node of the inventory.
func (p *Policy) Strangers(inv *healthfeed.Inventory) []Selector {
	var strangers []Selector
	look := func(s Selector) {
		if !slices.ContainsFunc(inv.Nodes, func(n healthfeed.Node) bool { return s.Matches(&n) }) {
			strangers = append(strangers, s)
		}
	}
	for _, b := range p.Bias {
		look(b.Nodes)
	}
	for _, r := range p.Rules {
		for _, s := range r.Nodes {
			look(s)
		}
	}
	return strangers
}

// Under returns the set as the policy sees it, with its bias and its rules. They
// have no effect on a set that was not prepared for them.
func (s *Set) Under(p *Policy) *Set {
	if len(p.Bias) == 0 && len(p.Rules) == 0 {
		return s
	}
	under := *s
	under.peers = make([][]member, len(s.peers))
	for i := range s.peers {
		under.peers[i] = slices.Clone(s.peers[i])
		for j := range under.peers[i] {
			m := &under.peers[i][j]
			node := &s.inventory.Nodes[m.node]
			for _, b := range p.Bias {
				if b.Nodes.Matches(node) {
					m.bias *= b.Factor
				}
			}
			for k, rule := range p.Rules {
				if slices.ContainsFunc(rule.Nodes, func(s Selector) bool { return s.Matches(node) }) {
					m.ruled |= 1 << k
				}
			}
		}
	}
	return &under
}

// orders are the rules that concern one client, a bit for each.
type orders struct {
	include, exclude uint64
}

// ordersFor returns the rules that concern a client.
func (p *Policy) ordersFor(req *Request) (o orders) {
	for k := range p.Rules {
		switch rule := &p.Rules[k]; {
		case !rule.concerns(req):
		case rule.Include:
			o.include |= 1 << k
		default:
			o.exclude |= 1 << k
		}
	}
	return o
}

// against returns the rules that keep a member from the client, a bit for each.
func (o orders) against(m *member) uint64 {
	rules := m.ruled & o.exclude
	if m.ruled&o.include == 0 {
		rules |= o.include
	}
	return rules
}
