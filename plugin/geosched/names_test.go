package geosched

import (
	"errors"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/test"
)

func TestNames(t *testing.T) {
	tests := []struct {
		name, zones, steer string
		qname              string
		want               string // the name it is steered by, or empty
		exists             bool
	}{
		{"exact", "cdn.example", "www", "www.cdn.example.", "www.cdn.example.", true},
		{"apex", "cdn.example", "www", "cdn.example.", "", true},
		{"steered-apex", "cdn.example", "@", "cdn.example.", "cdn.example.", true},
		{"missing", "cdn.example", "www", "x.cdn.example.", "", false},
		{"wildcard-at-the-apex", "cdn.example", "*", "a.b.cdn.example.", "*.cdn.example.", true},
		{"wildcard-does-not-cover-the-apex", "cdn.example", "*", "cdn.example.", "", true},
		{"exact-before-wildcard", "cdn.example", "* www", "www.cdn.example.", "www.cdn.example.", true},
		{"wildcard-stops-at-an-existing-name", "cdn.example", "* www", "a.www.cdn.example.", "", false},
		{"wildcard-stops-at-an-empty-one", "cdn.example", "* a.b", "x.b.cdn.example.", "", false},
		{"empty-non-terminal-is-not-the-wildcard's", "cdn.example", "* a.b", "b.cdn.example.", "", true},
		{"inner-wildcard", "cdn.example", "* *.b", "x.b.cdn.example.", "*.b.cdn.example.", true},
		{"root", ".", "www", "www.", "www.", true},
		{"root-apex", ".", "www", ".", "", true},
		{"root-wildcard", ".", "*", "a.b.", "*.", true},
		{"root-missing", ".", "www.x", "y.", "", false},
		{"zone-below-zone", "cdn.example b.cdn.example", "a", "a.b.cdn.example.", "a.b.cdn.example.", true},
		{"zone-below-zone-missing", "cdn.example b.cdn.example", "a", "x.b.cdn.example.", "", false},
		{"escaped-dot", "cdn.example", `a\.b`, `a\.b.cdn.example.`, `a\.b.cdn.example.`, true},
		{"other-zone", "cdn.example", "*", "evilcdn.example.", "", false},
		{"above-the-zone", "cdn.example", "*", "example.", "", false},
		{"no-zone-at-all", "cdn.example", "*", ".", "", false},
		{"escaped-dot-is-no-label", "cdn.example", `a\.b`, "b.cdn.example.", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(caddy.NewTestController("dns", "geosched "+tt.zones+" {\nnodes x\nsteer "+tt.steer+"\n}"))
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.Steer { // so that it can be told which one was found
				c.Steer[i].Service = c.Steer[i].Name
			}
			names, err := newNames(c)
			if err != nil {
				t.Fatal(err)
			}
			f := names.find(tt.qname)
			got := ""
			if f.steered != nil {
				got = f.steered.Service
			}
			if got != tt.want || f.exists != tt.exists {
				t.Errorf("got %q, exists %v, want %q, %v", got, f.exists, tt.want, tt.exists)
			}
			if want := plugin.Zones(c.Zones).Matches(tt.qname); f.zone != want {
				t.Errorf("zone %q, want %q", f.zone, want)
			}
		})
	}
}

// named is a plugin that is nothing but its name.
type named struct {
	plugin.Handler
	name string
}

func (n named) Name() string { return n.name }

func TestCheckChain(t *testing.T) {
	tests := []struct {
		chain []string
		want  error
	}{
		{[]string{"errors", pluginName, "file"}, nil},
		{[]string{"errors", "loadbalance", pluginName}, nil},
		{[]string{pluginName, "cache", "minimal", "forward"}, nil},
		{[]string{"cache", pluginName}, unfit["cache"]},
		{[]string{"errors", "minimal", pluginName}, unfit["minimal"]},
	}
	for _, tt := range tests {
		var handlers []plugin.Handler
		for _, name := range tt.chain {
			handlers = append(handlers, named{test.ErrorHandler(), name})
		}
		if got := checkChain(handlers); !errors.Is(got, tt.want) {
			t.Errorf("%v: got %v, want %v", tt.chain, got, tt.want)
		}
	}
}

func TestZoneOf(t *testing.T) {
	c := &config{Zones: []string{"cdn.example.", "img.cdn.example.", "test."}}
	for name, want := range map[string]string{
		"cdn.example.": "cdn.example.", "www.cdn.example.": "cdn.example.", "a.img.cdn.example.": "img.cdn.example.",
		"evilcdn.example.": "", `evil\.cdn.example.`: "", "example.": "", ".": "", "test.": "test.",
	} {
		if got := c.zoneOf(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := (&config{Zones: []string{"."}}).zoneOf("www.example."); got != "." {
		t.Errorf("got %q, want the root", got)
	}
}
