package geosched

import (
	"cmp"
	"fmt"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/account"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// Whoever is allowed to may ask what a client would be answered, and why:
//
//	dig CH TXT www.cdn.example +subnet=… ──┐
//	GET /v1/explain?name=&client= ─────────┼─► situation ─► steer.Explain ─► explanation
//	GET /v1/map ─── each class ────────────┘                (what chooses, explains)
//	GET /v1/choose?name=&client= ─────────────► decide, as for a query
//
// An explanation is a throw of the dice like any answer: where several nodes share
// the clients, asking again may choose another.

// explanation is a decision and how it came about. As JSON it is what
// GET /v1/explain answers; what is unknown is absent.
type explanation struct {
	Name    string `json:"name"`    // absolute, in lower case
	Type    string `json:"type"`    // of the question
	Zone    string `json:"zone"`    // that the name is in
	Service string `json:"service"` // that answers for it; "" is all nodes

	Policy policyTerms `json:"policy"`
	Client clientTerms `json:"client"`

	// Shadow is the nodes that the shadow policies would choose, or the name, if
	// there are any and this is the answer as it is.
	Shadow *string `json:"shadow,omitempty"`

	Target     string               `json:"target,omitempty"` // a name to answer with, in the place of nodes
	Scope      uint8                `json:"scope"`            // bits; 0 when the client subnet had no say
	Why        string               `json:"why"`              // the reason, as in metrics
	Degraded   bool                 `json:"degraded"`         // not what a healthy CDN would answer
	TTL        uint32               `json:"ttl_s"`            // seconds
	Generation uint64               `json:"generation"`       // of the health table
	Freshness  healthfeed.Freshness `json:"freshness"`        // what the table rests on

	// Candidates are all nodes of the service: the chosen ones first, then those
	// who could have been, and then the others, the best first.
	Candidates []account.Candidate `json:"candidates"`
}

// policyTerms says by what was chosen.
type policyTerms struct {
	Name     string  `json:"name"`
	Strategy string  `json:"strategy"`
	Alpha    float64 `json:"alpha"`    // share of distance in the score, 0 to 1
	Beta     float64 `json:"beta"`     // share of latency
	Near     float64 `json:"near_pct"` // how much worse than the best the group may be, percent
	Epsilon  float64 `json:"eps_km"`   // kilometres
	Soon     float64 `json:"eps_ms"`   // milliseconds
	Answers  int     `json:"answers"`  // most nodes in an answer
}

// clientTerms says who asked, as far as it matters.
type clientTerms struct {
	Prefix    string   `json:"prefix,omitempty"` // that located the client
	ECS       string   `json:"ecs"`              // what became of the client subnet, as in metrics
	Class     string   `json:"class"`            // in words
	Source    string   `json:"source"`           // what knows the class
	Lat       *float64 `json:"lat,omitempty"`    // degrees north
	Lon       *float64 `json:"lon,omitempty"`    // degrees east
	Continent string   `json:"continent,omitempty"`
	Country   string   `json:"country,omitempty"`
	ASN       uint32   `json:"asn,omitempty"`
	Pinned    []string `json:"pinned,omitempty"` // the nodes that the operator named for the class
}

// explain says what a client would be answered and why.
func (q *inquiry) explain() (*explanation, error) {
	d, e, policy, err := q.settle()
	if err != nil {
		return nil, err
	}
	x := &explanation{
		Name: q.name, Type: dns.TypeToString[q.qtype], Zone: q.zone, Service: q.s.Service,
		Policy: termsOfPolicy(q.policyName(d.plan), policy),
		Client: d.terms(),
		Target: d.target(), Scope: d.scope, Why: d.Why.String(), Degraded: d.Degraded, TTL: q.g.ttl(&d),
		Generation: d.table.Generation, Freshness: d.table.Freshness,
		Candidates: account.Candidates(&e, d.class, d.table),
	}
	if q.g.shadow != nil && q.policy == "" && q.class == nil && !q.whatIf.given {
		o := q.g.inShadow(&d, q.family(), q.client, q.aliasName())
		x.Shadow = new(cmp.Or(o.target(), o.nodeIDs()))
	}
	return x, nil
}

func termsOfPolicy(name string, p *steer.Policy) policyTerms {
	strategy := p.Strategy
	if strategy == nil {
		strategy = steer.Strategies()[0]
	}
	t := policyTerms{
		Name: name, Strategy: strategy.Traits().Name, Alpha: p.Alpha, Beta: p.Beta, Near: account.Round(100*p.Near, 3),
		Epsilon: float64(p.Epsilon), Soon: account.Milliseconds(p.EpsilonRTT), Answers: p.Answers,
	}
	if p.Near < 0 {
		t.Near = account.Round(100*strategy.Traits().Near, 3)
	}
	if t.Beta == 0 {
		t.Alpha = 1 // it is distance alone, whatever is written
	}
	if t.Epsilon == 0 {
		t.Epsilon = float64(steer.DefaultEpsilon)
	}
	if t.Soon == 0 {
		t.Soon = account.Milliseconds(steer.DefaultEpsilonRTT)
	}
	return t
}

func (d *decision) terms() clientTerms {
	c := d.class
	t := clientTerms{
		ECS: fmt.Sprint(d.by), Class: c.String(), Source: c.Source.String(),
		Continent: c.Continent, Country: c.Country, ASN: c.ASN, Pinned: c.Nodes,
	}
	if d.client.IsValid() {
		t.Prefix = d.client.String()
	}
	if c.Point.Known() {
		t.Lat, t.Lon = new(account.Round(c.Point.Lat(), 2)), new(account.Round(c.Point.Lon(), 2))
	}
	return t
}
