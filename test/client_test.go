package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// dig asks a name server and prints what matters of the reply, a line each:
//
//	status: NOERROR aa
//	www.cdn.example. 300 IN A 192.0.2.1
//	authority: cdn.example. 60 IN SOA ...
//	subnet: 81.2.69.160/32/20
func dig(args []string) (string, error) {
	m := new(dns.Msg)
	client := dns.Client{Timeout: 2 * time.Second}
	var server string
	var names []string
	class := uint16(dns.ClassINET)
	m.SetEdns0(1232, false)
	for _, arg := range args {
		if at, ok := strings.CutPrefix(arg, "@"); ok {
			server = at
		} else if subnet, ok := strings.CutPrefix(arg, "+subnet="); ok {
			p, err := netip.ParsePrefix(subnet)
			if err != nil {
				return "", err
			}
			family := uint16(1)
			if p.Addr().Is6() {
				family = 2
			}
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
				Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice(),
			})
		} else if arg == "CH" {
			class = dns.ClassCHAOS
		} else if arg == "+tcp" {
			client.Net = "tcp"
		} else {
			names = append(names, arg)
		}
	}
	if server == "" || len(names) != 2 || dns.StringToType[names[1]] == 0 {
		return "", errors.New("usage: dig @ADDR [CH] NAME TYPE [+subnet=PREFIX] [+tcp]")
	}
	edns := m.IsEdns0()
	m.SetQuestion(dns.Fqdn(names[0]), dns.StringToType[names[1]])
	m.Question[0].Qclass = class
	m.Extra = []dns.RR{edns}
	reply, _, err := client.Exchange(m, server)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "status: %s", dns.RcodeToString[reply.Rcode])
	if reply.Authoritative {
		b.WriteString(" aa")
	}
	b.WriteByte('\n')
	for _, rr := range reply.Answer {
		fmt.Fprintln(&b, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	for _, rr := range reply.Ns {
		fmt.Fprintln(&b, "authority:", strings.ReplaceAll(rr.String(), "\t", " "))
	}
	if opt := reply.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if o, ok := o.(*dns.EDNS0_SUBNET); ok {
				fmt.Fprintf(&b, "subnet: %s/%d/%d\n", o.Address, o.SourceNetmask, o.SourceScope)
			}
		}
	}
	return b.String(), nil
}

// get fetches a URL and prints status line, header and body.
func get(args []string) (string, error) {
	header := http.Header{}
	method := http.MethodGet
	for len(args) > 1 {
		switch args[0] {
		case "-H":
			k, v, _ := strings.Cut(args[1], ":")
			header.Add(k, strings.TrimSpace(v))
		case "-X":
			method = args[1]
		default:
			return "", fmt.Errorf("get: unknown option %q", args[0])
		}
		args = args[2:]
	}
	if len(args) != 1 {
		return "", errors.New("usage: get [-H 'K: V']... [-X METHOD] URL")
	}
	req, err := http.NewRequest(method, args[0], nil)
	if err != nil {
		return "", err
	}
	req.Header, req.Host = header, header.Get("Host")
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	fmt.Fprintln(&b, resp.Status)
	if err := resp.Header.Write(&b); err != nil {
		return "", err
	}
	fmt.Fprintln(&b)
	if _, err := io.Copy(&b, io.LimitReader(resp.Body, 4<<20)); err != nil {
		return "", err
	}
	return strings.ReplaceAll(b.String(), "\r\n", "\n"), nil
}
