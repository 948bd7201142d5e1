package geosched

import (
	"net"

	"github.com/miekg/dns"
)

// parts is what an answer with one address is made of, in one piece of memory
// instead of eight. Slices end where their part ends, so that whoever appends to
// a section of the message gets another array, as plugins before us do.
type parts struct {
	msg      dns.Msg
	question [1]dns.Question
	answer   [1]dns.RR
	a        dns.A
	aaaa     dns.AAAA
	extra    [1]dns.RR
	opt      dns.OPT
	options  [1]dns.EDNS0
	ecs      dns.EDNS0_SUBNET
}

// message begins the answer to r.
func (p *parts) message(r *dns.Msg) *dns.Msg {
	m := &p.msg
	m.SetReply(&dns.Msg{MsgHdr: r.MsgHdr}) // without a question, which it would allocate
	m.Question = append(p.question[:0], r.Question[:min(1, len(r.Question))]...)
	m.Answer = p.answer[:0]
	m.Extra = p.extra[:0]
	return m
}

// address returns an A or AAAA record, the first of each from the parts.
func (p *parts) address(hdr dns.RR_Header, ip net.IP) dns.RR {
	if hdr.Rrtype == dns.TypeAAAA {
		rr := &p.aaaa
		if rr.AAAA != nil {
			rr = new(dns.AAAA)
		}
		rr.Hdr, rr.AAAA = hdr, ip
		return rr
	}
	rr := &p.a
	if rr.A != nil {
		rr = new(dns.A)
	}
	rr.Hdr, rr.A = hdr, ip
	return rr
}
