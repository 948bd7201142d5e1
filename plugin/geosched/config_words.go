package geosched

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin"

	"github.com/tandem-cdn/tandem/internal/names"
)

// The words that several properties have in common.

// one calls f with the only argument.
func (p *parser) one(name string, args []string, f func(string) error) error {
	if len(args) == 0 {
		return p.Errf("%s wants one argument, and there is none", name)
	}
	if len(args) > 1 {
		return p.Errf("%s wants one argument, got %q", name, strings.Join(args, " "))
	}
	return f(args[0])
}

// zones adds the zones that words stand for, each once: the keys of a server block
// may differ in port or transport alone.
func (p *parser) zones(words []string, to *[]string) error {
	for _, word := range words {
		zones := plugin.Host(word).NormalizeExact()
		if len(zones) == 0 {
			return p.Errf("%q is not a zone", word)
		}
		for _, z := range zones {
			if !slices.Contains(*to, z) {
				*to = append(*to, z)
			}
		}
	}
	return nil
}

// fallthroughs parses [ZONES…]. One that has no name in common with ours does nothing,
// and is rather a slip of the pen.
func (p *parser) fallthroughs(words []string) error {
	for _, word := range words {
		from := len(p.Fall.Zones)
		if err := p.zones([]string{word}, &p.Fall.Zones); err != nil {
			return err
		}
		for _, z := range p.Fall.Zones[from:] {
			if !slices.ContainsFunc(p.Zones, func(ours string) bool { return names.Below(z, ours) || names.Below(ours, z) }) {
				return p.Errf("fallthrough %q is not in the zone %s", word, strings.Join(p.Zones, " or "))
			}
		}
	}
	return nil
}

func (p *parser) path(name string) string {
	if p.root != "" && !filepath.IsAbs(name) {
		return filepath.Join(p.root, name)
	}
	return name
}

func (p *parser) integer(word string, least, most int, to *int) error {
	n, err := strconv.Atoi(word)
	if err != nil || n < least || n > most {
		return p.Errf("%q is not a number from %d to %d", word, least, most)
	}
	*to = n
	return nil
}

// seconds parses a TTL of at most a week.
func (p *parser) seconds(word string, to *uint32) error {
	var n int
	if err := p.integer(word, 0, 7*24*3600, &n); err != nil {
		return err
	}
	*to = uint32(n)
	return nil
}

// duration parses what follows a word such as interval.
func (p *parser) duration(word string) (time.Duration, error) {
	d, err := time.ParseDuration(word)
	if err != nil || d <= 0 {
		return 0, p.Errf("%q is not a duration such as 2s or 500ms", word)
	}
	return d, nil
}

// once complains if key has been seen before; format gets word and the line.
func (p *parser) once(key, format, word string) error {
	if line := p.placed[key]; line != 0 {
		return p.Errf(format, word, line)
	}
	p.placed[key] = p.Line()
	return nil
}

// listens checks an address to listen on, and returns its host.
func (p *parser) listens(word string) (host string, err error) {
	host, port, err := net.SplitHostPort(word)
	if err != nil {
		return "", p.Errf("%q is not an address such as 127.0.0.1:8053", word)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", p.Errf("%q is not a port, in %q", port, word)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return "", p.Errf("%q is not an IP address, in %q", host, word)
	}
	return host, nil
}
