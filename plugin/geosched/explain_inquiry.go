package geosched

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// inquiry is a question about a decision.
type inquiry struct {
	g      *Geosched // that answers for the name
	name   string    // absolute, in lower case
	zone   string    // that it is in
	s      *steered
	qtype  uint16
	client client
	policy string       // by which to choose: shadow, or one of the book; empty for that of the service
	class  *geoip.Class // in the place of that of the client, if not nil
	whatIf whatIf

	// the plan of another policy, and what it was made for
	other   *plan
	otherOf *view
}

// settle makes the decision that is asked about, as decide would. It takes no turn
// from anybody.
func (q *inquiry) settle() (d decision, e steer.Explanation, policy *steer.Policy, err error) {
	d = q.g.situation(q.world(), q.g.feed.Table(), q.s, q.client)
	if d.plan, err = q.plan(d.view); err != nil {
		return d, e, nil, err
	}
	d.dice, d.turn = q.g.dice(), d.plan.nextTurn()
	if c := q.class; c != nil {
		d.client, d.class, d.scope, d.by = netip.Prefix{}, c, 0, byNone
		d.dice = c.Hash // the same each time, and for each class another
	}
	if d.table, err = q.whatIf.table(d.table); err != nil {
		return d, e, nil, err
	}
	policy = q.whatIf.policy(d.plan.policy)
	families := []steer.Family{q.family()}
	aliases := d.mayAlias(q.aliasName())
	if aliases && d.view.of(q.s.Service).alias != "" {
		families = []steer.Family{steer.Any, q.family()}
	}
	for _, d.family = range families {
		req := d.request(aliases)
		e = policy.Explain(&req, d.table)
		if d.Choice = e.Choice; d.target() != "" || d.reaches(q.family()) {
			break
		}
	}
	return d, e, policy, nil
}

// shadowPolicy is the word for the policies of the shadow.
const shadowPolicy = "shadow"

// world is what the decision rests on.
func (q *inquiry) world() *world {
	if q.policy == shadowPolicy && q.g.shadow != nil {
		return q.g.shadow
	}
	return &q.g.world
}

// plan is how the service chooses.
func (q *inquiry) plan(v *view) (*plan, error) {
	if q.policy == "" || q.world() == q.g.shadow {
		return v.of(q.s.Service).plan, nil
	}
	if q.other == nil || q.otherOf != v {
		p, ok := v.book.Lookup(q.policy)
		if !ok {
			return nil, bad("policy %.100q is unknown, want %s", q.policy, strings.Join(q.policies(), ", "))
		}
		q.other, q.otherOf = newPlan(q.policy, p, v.set(q.s.Service)), v
	}
	return q.other, nil
}

// policyName is what a plan is called.
func (q *inquiry) policyName(p *plan) string {
	if q.world() == q.g.shadow {
		return shadowPolicy + " " + p.name
	}
	return p.name
}

// policies lists what policy may be.
func (q *inquiry) policies() []string {
	names := q.g.policies.book.Load().Names()
	if q.g.shadow != nil {
		names = append(names, shadowPolicy)
	}
	return names
}

// family is that of the addresses to be chosen for.
func (q *inquiry) family() steer.Family { return q.g.config.familyOf(q.qtype) }

// aliasName is the name, if it may be an alias, or else "".
func (q *inquiry) aliasName() string {
	if q.name == q.zone {
		return ""
	}
	return q.name
}

// clientOf is a client as if it had asked: by way of resolver, if that is valid, and
// with p as its client subnet, if that is. With ecs off it asks itself.
func (g *Geosched) clientOf(p netip.Prefix, resolver netip.Addr) client {
	if !g.config.ECS {
		if !resolver.IsValid() {
			resolver = p.Addr()
		}
		return client{resolver: resolver}
	}
	c := client{resolver: resolver}
	if !p.IsValid() {
		return c
	}
	c.subnet.option = &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
	if p.Addr().Is6() {
		c.subnet.option.Family = 2
	}
	if p.Bits() > 0 {
		c.subnet.prefix = p
	}
	c.subnet.untrusted = resolver.IsValid() && len(g.config.Trust) > 0 && !g.config.trusted(resolver)
	return c
}
