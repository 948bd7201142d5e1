package geosched

import (
	"net"

	"github.com/miekg/dns"
)

// parts is what an answer with one IPv4 address is made of, in one piece of memory
// instead of eight. One with an IPv6 address has a second piece, so that all others
// need not carry it: what is allocated has to be cleared and collected. Slices end
// where their part ends, so that whoever appends to a section of the message gets
// another array, as plugins before us do.
type parts struct {
	msg      dns.Msg
	question [1]dns.Question
	answer   [1]dns.RR
	a        dns.A
	extra    [1]dns.RR
	opt      dns.OPT
	options  [1]dns.EDNS0
	ecs      dns.EDNS0_SUBNET
}

// message begins the answer to r.
func (p *parts) message(r *dns.Msg) *dns.Msg {
	m := &p.msg
	m.MsgHdr = dns.MsgHdr{Id: r.Id, Response: true, Opcode: r.Opcode}
	if r.Opcode == dns.OpcodeQuery { // as SetReply does, which would allocate the question
		m.RecursionDesired, m.CheckingDisabled = r.RecursionDesired, r.CheckingDisabled
	}
	m.Question = append(p.question[:0], r.Question[:min(1, len(r.Question))]...)
	m.Answer = p.answer[:0]
	m.Extra = p.extra[:0]
	return m
}

// address returns an A or AAAA record.
func (p *parts) address(hdr dns.RR_Header, ip net.IP) dns.RR {
	if hdr.Rrtype == dns.TypeAAAA {
		return &dns.AAAA{Hdr: hdr, AAAA: ip}
	}
	rr := &p.a
	if rr.A != nil { // it is in use
		rr = new(dns.A)
	}
	rr.Hdr, rr.A = hdr, ip
	return rr
}
