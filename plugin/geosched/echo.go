package geosched

import (
	"context"
	"crypto/tls"
	"slices"
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// echo stands before all plugins of a server block and completes what comes back:
//
//	query ──► echo ──► acl ──► dnssec ──► geosched ──► file
//	answer ◄─ echo ◄──── of whichever plugin ──────────┘
//
// A server that understands the client subnet in a zone says so in every answer
// of that zone (RFC 7871, sections 7.2.1 and 12.1), also in those of plugins that
// know nothing of it, and in the errors that the server writes when a plugin
// returns no more than a code. Whoever set a scope knew why; for all others it is
// 0, as it would be understood without the option. A DNS cookie is in every answer as
// well (RFC 7873, section 5.2), if there are cookies.
type echo struct {
	next plugin.Handler
	g    *Geosched
}

// stand makes an echo the first plugin of a block. The chain is compiled when all
// plugins are set up, and of several keys of a block only the first has a list.
func (e *echo) stand(c *dnsserver.Config) {
	c.Plugin = slices.Insert(c.Plugin, 0, func(next plugin.Handler) plugin.Handler {
		return &echo{next, e.g}
	})
}

// Name implements plugin.Handler. It is not that of a directive, so that nobody
// finds an echo where geosched is looked for.
func (e *echo) Name() string { return pluginName + "-echo" }

// ServeDNS implements plugin.Handler. A query without an option costs nothing, and
// one that is malformed is geosched's to judge.
func (e *echo) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	nested := fromPlugin(w)
	if nested {
		ctx = context.WithValue(ctx, nestedKey{}, true)
	}
	subnet, cookie := e.options(w, r)
	if subnet.option == nil && cookie == nil {
		return e.next.ServeDNS(ctx, w, r)
	}
	ew := &echoWriter{Context: ctx, ResponseWriter: w, config: e.g.config, subnet: subnet.option, cookie: cookie, qname: r.Question[0].Name}
	ew.outer, _ = ctx.Value(echoKey{}).(*echoWriter)
	if nested && (ew.outer == nil || !ew.outer.ours()) && ew.ours() {
		// A plugin follows a CNAME from a zone in which nobody speaks of the client
		// subnet: what is found is kept for everybody. The query is a copy.
		opt := r.IsEdns0()
		opt.Option = slices.DeleteFunc(opt.Option, isSubnet)
		return e.next.ServeDNS(ctx, w, r)
	}
	rcode, err := e.next.ServeDNS(ew, ew, r)
	if plugin.ClientWrite(rcode) || !ew.ours() {
		return rcode, err
	}
	// The plugins that count and log have seen the code. The server sees that
	// there is nothing left to write.
	return dns.RcodeSuccess, ew.WriteMsg(new(dns.Msg).SetRcode(r, rcode))
}

// nestedKey is set in the context of a query that a plugin asks on behalf of another.
type nestedKey struct{}

// isNested reports whether a plugin asks on behalf of another query.
func isNested(ctx context.Context) bool { return ctx.Value(nestedKey{}) != nil }

// fromPlugin reports whether the writer that the server gave to a query is not of a
// client. Whoever looks something up in the server itself collects the answer in such
// a writer; not everybody counts in the context how deep that goes.
func fromPlugin(w dns.ResponseWriter) bool {
	scrub, ok := w.(*request.ScrubWriter)
	if !ok {
		return false
	}
	_, ok = scrub.ResponseWriter.(*nonwriter.Writer)
	return ok
}

// options reads from a query what its answer has to say: the client subnet, and a
// cookie.
func (e *echo) options(w dns.ResponseWriter, r *dns.Msg) (s subnet, c *dns.EDNS0_COOKIE) {
	if e.g.config.ECS {
		var ok bool
		if s, ok = subnetOf(r); !ok {
			s = subnet{}
		}
	}
	if e.g.cookies != nil {
		if sent, ok := cookieOf(r); ok && sent.wellFormed() {
			c = e.g.cookies.reply(&sent, resolverOf(w.RemoteAddr()))
		}
	}
	return s, c
}

// echoWriter is the writer of all plugins of a block, and their context: a plugin
// that follows a CNAME asks the server anew in that context, and what it finds has a
// scope that is part of the answer's (RFC 7871, section 7.2.1: the longest).
type echoWriter struct {
	context.Context
	dns.ResponseWriter
	config *config
	subnet *dns.EDNS0_SUBNET // of the query, or nil
	cookie *dns.EDNS0_COOKIE // to answer with, or nil
	qname  string            // that was asked, whatever it is rewritten to
	scope  uint8             // the longest found so far
	outer  *echoWriter       // of the query on whose behalf this one is asked, if any
}

// ours reports whether the question is about a name in the zones. That is asked only
// when the answer is not geosched's own.
func (w *echoWriter) ours() bool { return w.config.zoneOf(strings.ToLower(w.qname)) != "" }

type echoKey struct{}

// Value implements context.Context.
func (w *echoWriter) Value(key any) any {
	if key == (echoKey{}) {
		return w
	}
	return w.Context.Value(key)
}

// subnetIn returns the client subnet of an OPT record, nil if there is none.
func subnetIn(opt *dns.OPT) *dns.EDNS0_SUBNET {
	if opt == nil {
		return nil
	}
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_SUBNET); ok {
			return e
		}
	}
	return nil
}

func isSubnet(o dns.EDNS0) bool { return o.Option() == dns.EDNS0SUBNET }

func isCookie(o dns.EDNS0) bool { return o.Option() == dns.EDNS0COOKIE }

// WriteMsg implements dns.ResponseWriter. It leaves alone what it gets, which may
// belong to a cache.
func (w *echoWriter) WriteMsg(m *dns.Msg) error {
	opt, scope, complete := m.IsEdns0(), w.scope, w.subnet == nil
	if said := subnetIn(opt); said != nil {
		complete = complete || said.SourceScope >= scope
		scope = max(scope, said.SourceScope)
	}
	if w.outer != nil {
		w.outer.scope = max(w.outer.scope, scope)
	}
	if complete && w.cookie == nil || !w.ours() {
		return w.ResponseWriter.WriteMsg(m)
	}
	out, own := *m, dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	if opt == nil {
		out.Extra = slices.Concat([]dns.RR{&own}, m.Extra) // a TSIG stays the last
	} else {
		own = *opt
		own.Option = slices.Clone(opt.Option)
		out.Extra = slices.Clone(m.Extra)
		out.Extra[slices.Index(m.Extra, dns.RR(opt))] = &own
	}
	if !complete {
		e := *w.subnet
		e.SourceScope = scope
		own.Option = append(slices.DeleteFunc(own.Option, isSubnet), &e)
	}
	if w.cookie != nil {
		own.Option = append(slices.DeleteFunc(own.Option, isCookie), w.cookie)
	}
	return w.ResponseWriter.WriteMsg(&out)
}

// ConnectionState implements dns.ConnectionStater, for plugins that look at the
// TLS connection.
func (w *echoWriter) ConnectionState() *tls.ConnectionState {
	if s, ok := w.ResponseWriter.(dns.ConnectionStater); ok {
		return s.ConnectionState()
	}
	return nil
}
