package edgecache

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Ranges is how parts of responses are fetched and kept.
type Ranges struct {
	// What becomes of a request for one byte range that nothing stored
	// answers. `auto`: that part is fetched and stored, and parts of the same
	// representation are put together. `full`: the whole is fetched and stored,
	// and the part cut from it as it comes. `pass`: the request is forwarded
	// and nothing is stored. Default: `auto`.
	Range string `json:"range,omitempty"`

	// Responses longer than `above` are fetched and stored in slices of `size`
	// bytes, each when it is first asked for, if the origin server has byte
	// ranges for them and a strong validator. Default: not in slices.
	Slice *Slice `json:"slice,omitempty"`
}

// Slice is which responses are stored in slices.
type Slice struct {
	// The size of a slice in bytes: 64 KiB to 64 MiB.
	Size int64 `json:"size"`

	// The size, in bytes, up to which responses are stored as a whole. At least
	// `size`.
	Above int64 `json:"above"`
}

// The sizes that slices may have: with smaller ones the fetches cost more than
// what they bring, larger ones are no slices.
const minSlice, maxSlice = 64 << 10, 64 << 20

func (s *Slice) validate() error {
	switch {
	case s == nil:
		return nil
	case s.Size < minSlice || s.Size > maxSlice:
		return fmt.Errorf("slice size %d: want %d to %d bytes", s.Size, int64(minSlice), int64(maxSlice))
	case s.Above < s.Size:
		return fmt.Errorf("slice above %d: want at least the size of a slice, %d bytes", s.Above, s.Size)
	}
	return nil
}

func (c *Ranges) apply(p *httpcache.Policy) (err error) {
	if err := c.Slice.validate(); err != nil {
		return err
	}
	if c.Range != "" {
		if p.Ranges, err = httpcache.ParseRangesMode(c.Range); err != nil {
			return fmt.Errorf("range %w", err)
		}
	}
	return nil
}

// parseSlice reads slice SIZE above SIZE.
func (c *Ranges) parseSlice(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 3 || args[1] != "above" {
		return d.Errf("bad slice %q: want a size, above and a size, such as 1MiB above 8MiB", strings.Join(args, " "))
	}
	c.Slice = new(Slice)
	if err := parseSize(d, args[0], &c.Slice.Size); err != nil {
		return err
	}
	if err := parseSize(d, args[2], &c.Slice.Above); err != nil {
		return err
	}
	if err := c.Slice.validate(); err != nil {
		return d.Errf("bad %v", err)
	}
	return nil
}
