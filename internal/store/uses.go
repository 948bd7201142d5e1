package store

import "container/heap"

// uses is a heap of nodes with the one used longest ago on top. A use only
// notes its time in the node; where the node belongs is found out when it
// comes up. So a node may stand higher than it should, never lower.
type uses []*node

func (u uses) Len() int           { return len(u) }
func (u uses) Less(i, j int) bool { return u[i].placed < u[j].placed }

func (u uses) Swap(i, j int) {
	u[i], u[j] = u[j], u[i]
	u[i].place, u[j].place = i, j
}

// Push is for container/heap.
func (u *uses) Push(n any) {
	n.(*node).place = len(*u)
	*u = append(*u, n.(*node))
}

// Pop is for container/heap.
func (u *uses) Pop() any {
	last := len(*u) - 1
	n := (*u)[last]
	(*u)[last] = nil
	*u = (*u)[:last]
	return n
}

func (u *uses) add(n *node) {
	n.placed = n.used.Load()
	heap.Push(u, n)
}

func (u *uses) remove(n *node) { heap.Remove(u, n.place) }

// oldest returns the node used longest ago, nil if there is none.
func (u *uses) oldest() *node {
	for len(*u) > 0 {
		n := (*u)[0]
		used := n.used.Load()
		if used == n.placed {
			return n
		}
		n.placed = used
		heap.Fix(u, 0)
	}
	return nil
}
