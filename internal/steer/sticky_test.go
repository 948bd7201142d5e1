package steer

import (
	"slices"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// Classes spread over the nodes by weight, stay where they are whatever the dice,
// and when a node leaves only its own classes move.
func TestSticky(t *testing.T) {
	nodes := []nodeSpec{{"a", 0, 0, 100, up, nil}, {"b", 0, 0, 50, up, nil}, {"c", 0, 0, 200, up, nil}, {"d", 0, 0, 100, degraded, nil}}
	set, before := world(t, nodes...)
	nodes[2].state = dead
	set2, after := world(t, nodes...)
	p := *one
	p.Sticky = true
	const n = 20_000
	got := make(map[string]int)
	for key := range uint64(n) {
		was := ids(p.Choose(&Request{Set: set, Key: key, Dice: key}, before), before)
		if again := ids(p.Choose(&Request{Set: set, Key: key, Dice: ^key}, before), before); again != was {
			t.Fatalf("class %d is with %s and with %s", key, was, again)
		}
		got[was]++
		if is := ids(p.Choose(&Request{Set: set2, Key: key}, after), after); is != was && was != "c" {
			t.Fatalf("class %d moved from %s to %s though c left", key, was, is)
		}
	}
	for id, w := range map[string]float64{"a": 100, "b": 50, "c": 200, "d": 50} {
		within(t, id, got[id], n, w/400)
	}
}

// Health is measured, and never the same twice nor on two name servers: while nodes
// are up, nobody moves for it.
func TestStickyIgnoresHealthOfThoseWhoAreUp(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 0, 0, 100, up, nil}, nodeSpec{"b", 0, 0, 50, up, nil}, nodeSpec{"c", 0, 0, 200, unknown, nil})
	p := *one
	p.Sticky = true
	later := *table
	later.Nodes = slices.Clone(table.Nodes)
	for i, health := range []float64{0.91, 0.78, 0.97} {
		later.Nodes[i].Health = health
	}
	for key := range uint64(5000) {
		req := &Request{Set: set, Key: key}
		if was, is := ids(p.Choose(req, table), table), ids(p.Choose(req, &later), table); was != is {
			t.Fatalf("class %d moved from %s to %s", key, was, is)
		}
	}
}

// Two services do not send the same classes to the same nodes.
func TestStickyServicesDiffer(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 0, 0, 100, up, nil}, nodeSpec{"b", 0, 0, 100, up, nil})
	inv, err := healthfeed.NewInventory(table.Inventory.Nodes, map[string]healthfeed.Service{"web": {}})
	if err != nil {
		t.Fatal(err)
	}
	web, _ := NewSet(inv, "web")
	p := *one
	p.Sticky = true
	const n = 10_000
	same := 0
	for key := range uint64(n) {
		if ids(p.Choose(&Request{Set: set, Key: key}, table), table) == ids(p.Choose(&Request{Set: web, Key: key}, table), table) {
			same++
		}
	}
	within(t, "the same node", same, n, 0.5)
}
