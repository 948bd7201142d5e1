package geosched

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/steer"
)

// A node that is a name stands for another CDN. When it is the one chosen, the
// name of the query is an alias for this client: whatever the type, the answer is
// the CNAME and nothing else. Where it leads is not looked up, because what is
// found there has a scope of its own (RFC 7871, section 7.2.1); the resolver
// asks. At an apex, where SOA and NS stand, there is no CNAME (RFC 1034, section
// 3.6.2), and such nodes are left out; so they are at a name that one of them leads
// to, which would lead to itself.
//
// That is one choice among all nodes, whatever the family, so that a client is
// not sent elsewhere with IPv6 than with IPv4. Unless it falls on a name, the
// nodes that it falls on answer.

// mayAlias reports whether the name may be an alias for some client, or for all when
// the nodes are down.
func (q *query) mayAlias(s *service) bool {
	return !q.apex() && (s.alias != "" || s.plan.policy.AllDown.Do == steer.CName)
}

// aliasName is the name that the query is for, if it may be an alias, or else "".
func (q *query) aliasName() string {
	if q.apex() {
		return ""
	}
	return q.qname
}

// mayAlias reports whether a name, if it is one, may be an alias by the decision.
func (d *decision) mayAlias(name string) bool {
	leadsHome := func(to string) bool { return strings.EqualFold(to, name) }
	return name != "" && !leadsHome(d.plan.policy.AllDown.Name) && !slices.ContainsFunc(d.view.of(d.steered.Service).targets, leadsHome)
}

// steerOther answers a name that may be an alias, for a type that nodes have
// nothing of: if it is an alias for this client now, with that. Where nodes are
// names the next plugin is not asked, since what it says would stand beside the
// CNAME of other clients.
func (q *query) steerOther(s *steered) (int, error) {
	w := q.watch()
	d := q.g.decide(s, steer.Any, q.client(), q.aliasName())
	if to := d.target(); to != "" {
		w.decided(q, &d, steer.Any)
		return q.alias(to, &d)
	}
	if d.view.of(s.Service).alias == "" && q.g.passes(strings.ToLower(q.qname)) {
		return q.pass(true)
	}
	return q.authority(true)
}

// target is the name that a decision leads to, or "". That is the CNAME of a node, or
// that of the policy when all nodes are down.
func (d *decision) target() string {
	if d.Len() == 0 {
		return d.Target
	}
	return d.table.Inventory.Nodes[d.Node(0)].CNAME
}

// reaches reports whether a node of a decision has what is asked for.
func (d *decision) reaches(family steer.Family) bool {
	for i := range d.Len() {
		if family == steer.Any || len(d.view.addrs[family][d.Node(i)]) > 0 {
			return true
		}
	}
	return false
}

// alias answers with a CNAME.
func (q *query) alias(target string, d *decision) (int, error) {
	if d.Len() > 0 {
		d.countNode(d.Node(0))
	}
	m := q.reply()
	m.Answer = []dns.RR{&dns.CNAME{
		Hdr:    dns.RR_Header{Name: q.qname, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: q.g.ttl(d)},
		Target: target,
	}}
	return q.write(m, answered, d.scope)
}
