package loadsim

// crowd is the clients of a region: at which edge each part of them is, and when it asks
// again. All numbers are parts of the region's clients.
type crowd struct {
	light, heavy asking
}

// heavyPart is the clients behind resolvers that keep answers for heavyTTL, whatever the
// TTL.
const (
	heavyPart = 0.1
	heavyTTL  = 300
)

// answers is what clients of a region are told who ask now: for each edge its part,
// and for how long.
type answers []answer

type answer struct {
	edge int
	part float64
	ttl  int // in seconds, at most heavyTTL
}

// add gives an edge a part more.
func (a *answers) add(edge int, part float64, ttl int) {
	for i := range *a {
		if x := &(*a)[i]; x.edge == edge && x.ttl == ttl {
			x.part += part
			return
		}
	}
	*a = append(*a, answer{edge, part, ttl})
}

func newCrowd(edges int, a answers) crowd {
	return crowd{newAsking(edges, a, 0), newAsking(edges, a, heavyTTL)}
}

// follow gives those the answers who ask in a second, and returns the part at each edge.
func (c *crowd) follow(a answers) []float64 {
	c.light.ask(a)
	c.heavy.ask(a)
	at := make([]float64, len(c.light.at))
	for i := range at {
		at[i] = (1-heavyPart)*c.light.at[i] + heavyPart*c.heavy.at[i]
	}
	return at
}

// asking is when clients ask again: in as many seconds as the place from next on.
type asking struct {
	keep int       // for how long they keep answers; 0 is for the TTL
	at   []float64 // by edge
	due  [heavyTTL + 1][]float64
	next int
}

// newAsking spreads clients evenly over the time in which they ask.
func newAsking(edges int, a answers, keep int) asking {
	w := asking{keep: keep, at: make([]float64, edges)}
	for i := range w.due {
		w.due[i] = make([]float64, edges)
	}
	for _, x := range a {
		w.at[x.edge] += x.part
		for s := range w.ttl(x.ttl) {
			w.due[s][x.edge] += x.part / float64(w.ttl(x.ttl))
		}
	}
	return w
}

func (w *asking) ttl(of int) int {
	if w.keep > 0 {
		return w.keep
	}
	return of
}

func (w *asking) ask(a answers) {
	sum := 0.0
	for i, part := range w.due[w.next] {
		sum += part
		w.at[i] -= part
		w.due[w.next][i] = 0
	}
	for _, x := range a {
		w.at[x.edge] += sum * x.part
		w.due[(w.next+w.ttl(x.ttl))%len(w.due)][x.edge] += sum * x.part
	}
	w.next = (w.next + 1) % len(w.due)
}
