package geoip

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-cdn/tandem/internal/geo"
)

// Net is one line of a nets or resolvers file: what the operator knows better than
// GeoIP about the clients in Prefix, or about those of the resolvers in Prefix.
// Exactly one of Nodes, Point and Name is set.
type Net struct {
	Line   int // in the file, from 1
	Prefix netip.Prefix
	Nodes  []string
	Point  geo.Point
	Name   string
}

// ParseNets reads a nets or resolvers file, one network a line:
//
//	# network        verdict
//	198.18.0.0/15    node lon1 lon2       # steer to these nodes
//	2001:db8::/32    at 47.6 -122.3       # the clients are here
//	10.0.0.0/8       class office         # the clients form a class by name
//
// The longest prefix that holds a client wins. Empty lines and what follows a
// # are ignored. An error names the file, the line and the word.
func ParseNets(r io.Reader, file string) ([]Net, error) {
	var nets []Net
	lines := make(map[netip.Prefix]int)
	s := bufio.NewScanner(r)
	line := 0
	for s.Scan() {
		line++
		text, _, _ := strings.Cut(s.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		n, err := parseNet(words)
		if err == nil && lines[n.Prefix] != 0 {
			err = fmt.Errorf("%q is on line %d already", words[0], lines[n.Prefix])
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, line, err)
		}
		n.Line = line
		lines[n.Prefix] = line
		nets = append(nets, n)
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("%s:%d: the line is longer than %d KiB", file, line+1, bufio.MaxScanTokenSize>>10)
	} else if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, line+1, err)
	}
	return nets, nil
}

func parseNet(words []string) (Net, error) {
	p, err := netip.ParsePrefix(words[0])
	switch {
	case err != nil:
		return Net{}, fmt.Errorf("%q is not a network such as 192.0.2.0/24", words[0])
	case p != p.Masked():
		return Net{}, fmt.Errorf("%q has bits set beyond its length, want %q", words[0], p.Masked().String())
	case shadowed(p):
		return Net{}, fmt.Errorf("%q embeds IPv4 addresses and is looked up as those, name the IPv4 network instead", words[0])
	case len(words) == 1:
		return Net{}, fmt.Errorf("nothing follows %q, want node, at or class", words[0])
	}
	n := Net{Prefix: p}
	verb, args := words[1], words[2:]
	switch verb {
	case "node":
		if len(args) == 0 {
			return Net{}, fmt.Errorf("%q wants the id of at least one node", verb)
		}
		n.Nodes = args
	case "at":
		if len(args) != 2 {
			return Net{}, fmt.Errorf("%q wants a latitude and a longitude, got %d words", verb, len(args))
		}
		var ll [2]float64
		for i, a := range args {
			if ll[i], err = strconv.ParseFloat(a, 64); err != nil {
				return Net{}, fmt.Errorf("%q is not a number of degrees", a)
			}
		}
		if n.Point, err = geo.At(ll[0], ll[1]); err != nil {
			return Net{}, err
		}
	case "class":
		if len(args) != 1 {
			return Net{}, fmt.Errorf("%q wants one name, got %d words", verb, len(args))
		}
		n.Name = args[0]
	default:
		return Net{}, fmt.Errorf("unknown word %q, want node, at or class", verb)
	}
	return n, nil
}

// insertNets inserts the operator's networks. A line that says node or class keeps
// the place that was known for the first address of its network, as a second
// choice and for explaining.
func (w *patchwork) insertNets(b *builder, source Source, nets []Net) {
	nets = slices.Clone(nets)
	slices.SortStableFunc(nets, func(x, y Net) int { return cmp.Compare(x.Prefix.Bits(), y.Prefix.Bits()) })
	for _, n := range nets {
		c := Class{Source: source, Point: n.Point, Name: n.Name, Nodes: n.Nodes, Line: n.Line}
		where := fmt.Sprint(n.Point.Lat(), n.Point.Lon())
		if !n.Point.Known() {
			below := b.at(n.Prefix)
			if ref, _ := find(w.nodes, n.Prefix.Addr()); ref != blank {
				below = &b.classes[ref]
			}
			c.Point, c.Continent, c.Country, c.ASN = below.Point, below.Continent, below.Country, below.ASN
			where = below.key
		}
		w.insert(n.Prefix, b.class(c.known(fmt.Sprintf("%s %s %q", where, c.Name, c.Nodes))))
	}
}

// readNets reads a file; without a name there are no networks.
func readNets(file string) ([]Net, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err // names the file
	}
	defer f.Close()
	return ParseNets(f, file)
}
