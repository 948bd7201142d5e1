package geosched

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/account"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// letChaosIn says whether a block of the instance that is being set up wants queries
// of class CH. The server refuses all classes but IN unless a plugin asks for them,
// and then passes on all classes to all blocks of a port. So it is asked only when
// somebody explains, and by an instance for itself.
func (h *holder) letChaosIn(wanted bool) {
	if h.chaos = h.chaos || wanted; h.chaos {
		dnsserver.EnableChaos[pluginName] = struct{}{}
	} else {
		delete(dnsserver.EnableChaos, pluginName)
	}
}

// othersAnswerChaos reports whether one of the plugins of a block, other than this,
// takes queries of other classes than IN.
func othersAnswerChaos(handlers []plugin.Handler) bool {
	for _, h := range handlers {
		if _, is := dnsserver.EnableChaos[h.Name()]; is && h.Name() != pluginName {
			return true
		}
	}
	return false
}

// chaos answers a query of another class than IN. Nothing of that is in our zones
// but, for those who may know, the explanation of what is answered to class IN: a
// TXT record for each fact.
func (q *query) chaos(s *steered) (int, error) {
	x := q.g.config.Explain
	from := q.client()
	if x == nil || !x.Chaos || !x.allows(from.resolver) || s == nil ||
		q.r.Question[0].Qclass != dns.ClassCHAOS || q.qtype != dns.TypeTXT {
		return q.count(refused, dns.RcodeRefused)
	}
	explained.WithLabelValues("chaos").Inc()
	about := inquiry{g: q.g, name: strings.ToLower(q.qname), zone: q.zone, s: s, qtype: dns.TypeA, client: from}
	e, err := about.explain()
	if err == nil && e.Why == steer.None.String() { // nobody has IPv4
		about.qtype = dns.TypeAAAA
		e, err = about.explain()
	}
	if err != nil {
		return dns.RcodeServerFailure, err
	}
	m := q.reply()
	for _, fact := range e.facts() {
		m.Answer = append(m.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: q.qname, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS},
			Txt: characterStrings(fact),
		})
	}
	return q.write(m, answered, e.Scope)
}

// mostFacts is how many candidates are listed over DNS, where a message has an end.
const mostFacts = 200

// facts are the explanation in lines. The records of an RRset have no order, so each
// begins with what it is about.
func (e *explanation) facts() []string {
	c := &e.Client
	client := fmt.Sprintf("client %s ecs=%s scope=%d class=%s", c.Prefix, c.ECS, e.Scope, c.Class)
	facts := []string{client}
	for i := range e.Candidates[:min(len(e.Candidates), mostFacts)] {
		facts = append(facts, e.Candidates[i].String())
	}
	if n := len(e.Candidates) - mostFacts; n > 0 {
		facts = append(facts, fmt.Sprintf("and %d nodes more, none better", n))
	}
	chosen := account.Chosen(e.Candidates)
	if e.Target != "" {
		chosen = []string{"CNAME " + e.Target}
	}
	if len(chosen) == 0 {
		chosen = []string{"nothing"}
	}
	pick := fmt.Sprintf("answer %s %s ttl=%d why=%s degraded=%v", e.Type, strings.Join(chosen, ","), e.TTL, e.Why, e.Degraded)
	rest := fmt.Sprintf("policy %s strategy=%s alpha=%.2g beta=%.2g near=%.3g%% table=%d %v", e.Policy.Name, e.Policy.Strategy,
		e.Policy.Alpha, e.Policy.Beta, e.Policy.Near, e.Generation, e.Freshness)
	facts = append(facts, pick, rest)
	if e.Shadow != nil {
		facts = append(facts, "shadow "+cmp.Or(*e.Shadow, "nothing"))
	}
	return facts
}

// characterStrings cuts a text into the strings of a TXT record, which have at most
// 255 bytes (RFC 1035, section 3.3). In what the library takes, a backslash begins
// an escape.
func characterStrings(text string) (out []string) {
	const most = 255
	for len(text) > most {
		out, text = append(out, escape(text[:most])), text[most:]
	}
	return append(out, escape(text))
}

func escape(text string) string { return strings.ReplaceAll(text, `\`, `\\`) }
