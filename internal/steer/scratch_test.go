//go:build !race

// The race detector makes a sync.Pool lose things at random.

package steer

import (
	"math/rand/v2"
	"testing"
)

// A set that is too large for the stack takes no memory of its own for each choice.
func TestChooseOfManyDoesNotAllocate(t *testing.T) {
	set, table := randomWorld(t, rand.New(rand.NewPCG(19, 20)), 300)
	req := &Request{Set: set, Point: at(t, 10, 10)}
	if n := testing.AllocsPerRun(1000, func() { req.Dice++; mixed.Choose(req, table) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
