package healthfeed

import (
	"fmt"
	"testing"
	"time"
)

// A fleet that starts is one line, and so is one that fails; a few changes are a line each.
func TestFeedLogsManyTogether(t *testing.T) {
	var ids []string
	for i := range 200 {
		ids = append(ids, fmt.Sprint("n", i))
	}
	inv := watched(t, ids...)
	table := func(state func(i int) State) *Table {
		t := &Table{Inventory: inv, Nodes: make([]Status, len(ids))}
		for i := range t.Nodes {
			t.Nodes[i].State = state(i)
		}
		return t
	}
	all := func(s State) *Table { return table(func(int) State { return s }) }
	firstDown := func(n int) *Table {
		return table(func(i int) State {
			if i < n {
				return Down
			}
			return Up
		})
	}
	for name, test := range map[string]struct {
		old, new *Table
		want     map[string]int
	}{
		"inventory":       {&Table{Inventory: &Inventory{}}, all(Unknown), map[string]int{"level=INFO": 1, `msg="inventory changed" nodes=200`: 1}},
		"start":           {all(Unknown), all(Up), map[string]int{"level=INFO": 1, `level=INFO msg="nodes measured" up=200`: 1}},
		"start-with-some": {all(Unknown), firstDown(3), map[string]int{`level=INFO msg="nodes measured" up=197`: 1, `level=WARN msg="node changed"`: 3, "level=": 4}},
		"a-few":           {all(Up), firstDown(linesPerSecond), map[string]int{`level=WARN msg="node changed"`: linesPerSecond, "level=": linesPerSecond}},
		"many":            {all(Up), firstDown(linesPerSecond + 1), map[string]int{`level=WARN msg="nodes changed" down=21`: 1, "level=": 1}},
		"many-return":     {firstDown(100), all(Up), map[string]int{`level=INFO msg="nodes changed" up=100`: 1, "level=": 1}},
	} {
		log := new(logbook)
		f := open(t, Config{Inventory: inv, Log: log.logger()})
		f.logChanges(test.old, test.new, t0)
		for words, want := range test.want {
			if got := log.count(words); got != want {
				t.Errorf("%s: %d lines of %q, want %d", name, got, words, want)
			}
		}
	}
	log := new(logbook)
	f := open(t, Config{Inventory: inv, Log: log.logger()})
	for i := range 10 * linesPerSecond { // one by one, in two seconds
		f.logChanges(firstDown(i), firstDown(i+1), t0.Add(time.Duration(i)*10*time.Millisecond))
	}
	if named, together := log.count(`msg="node changed"`), log.count(`msg="nodes changed" down=1`); named != 2*linesPerSecond || together != 8*linesPerSecond {
		t.Errorf("%d named and %d together", named, together)
	}
}
