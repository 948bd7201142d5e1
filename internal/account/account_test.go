package account

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// The words are those that programs have been written for: they stay.
func TestCandidates(t *testing.T) {
	inv, err := healthfeed.NewInventory([]healthfeed.Node{
		{ID: "lon1", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Weight: 100, Location: &healthfeed.Location{Lat: 51.5, Lon: -0.12}},
		{ID: "other", CNAME: "cdn.other.example.", Weight: 100, Tier: 1},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	table := healthfeed.Merge(inv, nil, nil, time.Time{})
	london, err := geo.At(51.5, -0.1)
	if err != nil {
		t.Fatal(err)
	}
	e := &steer.Explanation{Nodes: []steer.Account{
		{
			Node: 0, Fate: steer.Chosen, State: healthfeed.Up, Rule: -1, RTT: 12345 * time.Microsecond,
			Terms: steer.Terms{Delay: 2 * time.Millisecond, Latency: 0.71234, Load: 0.5, Health: 0.97},
			Bias:  1.5, Score: 0.02, Acceptance: 0.25, Ramp: 0.1, Weight: 97, Share: 0.66666,
		},
		{Node: 1, Fate: steer.Excluded, State: healthfeed.Down, Rule: 0, Tier: 1, Bias: 1, Score: 0.01, Acceptance: 1, Ramp: 1},
	}}
	all := Candidates(e, &geoip.Class{Point: london}, table)
	for i, want := range []struct{ json, line string }{
		{
			`{"id":"lon1","fate":"chosen","addrs":["192.0.2.1"],"state":"up","reason":"no checks","tier":0,"distance_km":1.4,"rtt_ms":12.35,` +
				`"delay_ms":2,"latency":0.712,"load":0.5,"health":0.97,"acceptance":0.25,"ramp":0.1,"bias":1.5,"score":1,"weight":97,"share":0.6667}`,
			`node lon1 chosen share=66.7% score=1.000 distance=1km rtt=12.3ms delay=2ms up health=0.97 accepts=25% ramp=10% load=50% bias=1.5 weight=97`,
		},
		{
			`{"id":"other","fate":"excluded","cname":"cdn.other.example.","state":"down","reason":"no checks","tier":1,"rule":1,` +
				`"delay_ms":0,"latency":0,"load":0,"health":0,"acceptance":1,"ramp":1,"bias":1,"score":0.5,"weight":0,"share":0}`,
			`node other excluded score=0.500 down health=0.00 rule=1 tier=1`,
		},
	} {
		got, err := json.Marshal(all[i])
		if err != nil || string(got) != want.json {
			t.Errorf("got  %s, %v\nwant %s", got, err, want.json)
		}
		if got := all[i].String(); got != want.line {
			t.Errorf("got  %s\nwant %s", got, want.line)
		}
	}
	if got := Chosen(all); len(got) != 1 || got[0] != "lon1" {
		t.Errorf("got %v", got)
	}
	for i := range all { // a client that is nowhere is no distance from anybody
		if c := Candidates(e, &geoip.Class{}, table)[i]; c.Distance != nil {
			t.Errorf("%s is %v km from nowhere", c.ID, *c.Distance)
		}
	}
}
