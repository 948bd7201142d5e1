package geosched

import (
	"slices"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

func isHTTPS(url string) bool { return strings.HasPrefix(url, "https:") }

// feed parses listen ADDR [insecure] | from FILE|URL… | etcd … | state FILE | control TARGET… | tls CERT KEY CA.
func (p *parser) feed(args []string) error {
	if len(args) == 0 {
		return p.Err("feed wants listen ADDRESS [insecure], from FILE|URL..., etcd URL..., state FILE, control TARGET... or tls CERT KEY CA")
	}
	key := "feed " + args[0]
	if at, again := p.At[key]; again {
		return p.Errf("%q is on line %d already", key, at.Line)
	}
	p.At[key] = p.here()
	switch args[0] {
	case "listen":
		if p.Insecure = len(args) == 3 && args[2] == "insecure"; p.Insecure {
			args = args[:2]
		}
		return p.one(key, args[1:], func(a string) error {
			p.Listen = a
			_, err := p.listens(a)
			return err
		})
	case "from":
		if len(args) == 1 {
			return p.Err("feed from wants FILE|URL...")
		}
		for _, a := range args[1:] {
			from, err := healthfeed.ParseFrom(a, p.root)
			if err != nil {
				return p.Err(err.Error())
			}
			p.From = append(p.From, from)
		}
		return nil
	case "etcd":
		return p.etcd(args[1:])
	case "state":
		return p.one(key, args[1:], func(a string) error { p.StateFile = p.path(a); return nil })
	case "control":
		if p.Control = args[1:]; len(p.Control) == 0 {
			return p.Err("feed control wants TARGET..., such as 192.0.2.53:53, or an address that answers a ping")
		}
		for i, at := range p.Control {
			if _, err := probe.ControlCheck(at); err != nil {
				return p.Errf("feed control: %v", err)
			}
			if slices.Contains(p.Control[:i], at) {
				return p.Errf("feed control: %q stands there twice", at)
			}
		}
		return nil
	case "tls":
		if len(args) != 4 {
			return p.Errf("feed tls wants CERT KEY CA, got %q", strings.Join(args[1:], " "))
		}
		for _, a := range args[1:] {
			p.TLS = append(p.TLS, p.path(a))
		}
		return nil
	}
	return p.Errf("feed %q is unknown, want listen, from, etcd, state, control or tls", args[0])
}
