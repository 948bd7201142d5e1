package etcdfeed

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/jsontree"
)

// Documents are what operators put beside the feed: policies and notices. Their
// zero value is empty and ready to use.
type Documents struct {
	mu       sync.Mutex
	policies map[string]Policy // by key
	notices  map[string]Notice // by kind
	version  uint64
	changed  chan struct{} // closed with the next change; nil while nobody waits
}

// A Policy is one policy, under policy/REGION/NAME: what stands after the name in a
// file of policies. Whether it is one is for its reader to find out.
type Policy struct {
	Region, Name string
	Text         []byte
}

// AllRegions is the region of policies that hold everywhere.
const AllRegions = "all"

// A Notice says that another file is there, under notice/KIND. In JSON:
//
//	{"kind": "geoip", "version": "2026-11", "sha256": "9f86d081884c7d65…"}
//
// It carries no file and names no path: whoever uses a file of the kind looks at its
// own.
type Notice struct {
	Kind    string // see [NoticeKinds]
	Version string // for people; may be empty
	SHA256  string // of the file, in lower-case hexadecimal digits
}

// NoticeKinds are the kinds of file that a notice can be about: the words of the
// Corefile that take one.
var NoticeKinds = []string{"nodes", "geoip", "asn", "nets", "resolvers", "policy", "records"}

// Policies returns the policies that hold in a region, by name: those of the region
// itself, and of [AllRegions] where it has none.
func (d *Documents) Policies(region string) []Policy {
	d.mu.Lock()
	defer d.mu.Unlock()
	byName := make(map[string]Policy)
	for _, p := range d.policies {
		if _, known := byName[p.Name]; p.Region == region || p.Region == AllRegions && !known {
			byName[p.Name] = p
		}
	}
	names := slices.Sorted(maps.Keys(byName))
	out := make([]Policy, len(names))
	for i, name := range names {
		out[i] = byName[name]
	}
	return out
}

// Notices returns the notices, sorted by kind.
func (d *Documents) Notices() []Notice {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := slices.Collect(maps.Values(d.notices))
	slices.SortFunc(out, func(a, b Notice) int { return strings.Compare(a.Kind, b.Kind) })
	return out
}

// Changed returns the version of what is there, and a channel that is closed when
// there is another.
func (d *Documents) Changed() (version uint64, next <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	return d.version, d.changed
}

// set keeps what stands under a key. It returns what is wrong with it, and keeps
// what was there before.
func (d *Documents) set(key string, text []byte) error {
	if rest, ok := strings.CutPrefix(key, noticeKeys); ok {
		n, err := parseNotice(rest, text)
		if err != nil {
			return err
		}
		return d.change(func() {
			if d.notices == nil {
				d.notices = make(map[string]Notice)
			}
			d.notices[rest] = n
		})
	}
	region, name, ok := strings.Cut(strings.TrimPrefix(key, policyKeys), "/")
	if !ok {
		return errors.New("a policy stands under policy/REGION/NAME")
	}
	for _, word := range []string{region, name} {
		if err := healthfeed.CheckName(word); err != nil {
			return err
		}
	}
	return d.change(func() {
		if d.policies == nil {
			d.policies = make(map[string]Policy)
		}
		d.policies[key] = Policy{region, name, text}
	})
}

// remove forgets a key.
func (d *Documents) remove(key string) {
	kind, isNotice := strings.CutPrefix(key, noticeKeys)
	d.mu.Lock()
	_, known := d.policies[key]
	if isNotice {
		_, known = d.notices[kind]
	}
	d.mu.Unlock()
	if known { // and only one goroutine makes changes
		d.change(func() {
			delete(d.policies, key)
			if isNotice {
				delete(d.notices, kind)
			}
		})
	}
}

// change makes a change and wakes those who wait. Its error is nil.
func (d *Documents) change(how func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	how()
	d.version++
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
	return nil
}

// parseNotice reads a notice strictly: an unknown field is an error.
func parseNotice(kind string, data []byte) (n Notice, err error) {
	top, err := jsontree.Parse(data)
	if err == nil {
		err = jsontree.Fields(top, true, map[string]jsontree.ReadFunc{
			"kind": jsontree.Text(&n.Kind), "version": jsontree.Text(&n.Version), "sha256": jsontree.Text(&n.SHA256),
		})
	}
	switch {
	case err != nil:
		return n, fmt.Errorf("line %d: %w", jsontree.Line(data, err), err)
	case n.Kind != kind:
		return n, fmt.Errorf("the notice of kind %q stands under %q", n.Kind, kind)
	case !slices.Contains(NoticeKinds, kind):
		return n, fmt.Errorf("kind %q is unknown, want one of %s", kind, strings.Join(NoticeKinds, ", "))
	case len(n.SHA256) != 64 || strings.Trim(n.SHA256, "0123456789abcdef") != "":
		return n, fmt.Errorf("sha256 %.80q is not 64 lower-case hexadecimal digits", n.SHA256)
	}
	return n, nil
}
