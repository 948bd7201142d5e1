package geosched

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// node parses ID ADDR… LAT LON [WEIGHT], or a name that ends in a dot for ADDR.
func (p *parser) node(args []string) error {
	if len(args) == 0 {
		return p.Err("node wants ID ADDRESS... LAT LON [WEIGHT]")
	}
	n := healthfeed.Node{ID: args[0], Weight: 100}
	rest := args[1:]
	for len(rest) > 0 {
		a, err := netip.ParseAddr(rest[0])
		if err != nil {
			break
		}
		n.Addrs, rest = append(n.Addrs, a), rest[1:]
	}
	if len(n.Addrs) == 0 && len(rest) > 0 && strings.HasSuffix(rest[0], ".") {
		n.CNAME, rest = rest[0], rest[1:]
	}
	if len(n.Addrs) == 0 && n.CNAME == "" {
		if len(rest) > 2 { // the first word is where an address should be
			return p.Errf("node %q has no address: %q is none", n.ID, rest[0])
		}
		return p.Errf("node %q has no address", n.ID)
	}
	if len(rest) != 2 && len(rest) != 3 {
		return p.Errf("node %q wants LAT LON [WEIGHT] after its addresses, got %q", n.ID, strings.Join(rest, " "))
	}
	n.Location = new(healthfeed.Location)
	for i, to := range []*float64{&n.Location.Lat, &n.Location.Lon} {
		f, err := strconv.ParseFloat(rest[i], 64)
		if err != nil {
			return p.Errf("node %q: %q is neither an address nor a number of degrees", n.ID, rest[i])
		}
		*to = f
	}
	if len(rest) == 3 {
		if err := p.integer(rest[2], 0, 1_000_000, &n.Weight); err != nil {
			return err
		}
	}
	if _, err := healthfeed.NewInventory([]healthfeed.Node{n}, nil); err != nil {
		return p.Err(err.Error())
	}
	if err := p.once("node "+n.ID, "node %q is on line %d already", n.ID); err != nil {
		return err
	}
	p.At["node "+n.ID] = p.here()
	for _, a := range n.Addrs {
		if err := p.once("address "+a.Unmap().String(), "address %q belongs to the node on line %d already", a.String()); err != nil {
			return err
		}
	}
	if n.CNAME != "" {
		if err := p.once("cname "+strings.ToLower(n.CNAME), "cname %q belongs to the node on line %d already", n.CNAME); err != nil {
			return err
		}
	}
	p.Inline = append(p.Inline, n)
	return nil
}
