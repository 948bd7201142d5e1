package geo

import (
	"math"
	"testing"
)

func at(t testing.TB, lat, lon float64) Point {
	t.Helper()
	p, err := At(lat, lon)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDistance(t *testing.T) {
	half := Distance(math.Pi) * EarthRadius
	tests := []struct {
		name       string
		lat1, lon1 float64
		lat2, lon2 float64
		want       Distance
		within     Distance
	}{
		{"same-place", 51.5, -0.12, 51.5, -0.12, 0, 0},
		{"null-island-to-itself", 0, 0, 0, 0, 0, 0},
		{"london-seattle", 51.5, -0.12, 47.6, -122.33, 7720, 30},
		{"london-beijing", 51.5, -0.12, 39.9, 116.4, 8140, 30},
		{"ten-metres-apart", 51.5, 0, 51.50009, 0, 0.01, 0.0001},
		{"pole-to-pole", 90, 0, -90, 0, half, 1e-6},
		{"one-pole-whatever-the-longitude", 90, 0, 90, 123, 0, 1e-6},
		{"pole-to-equator", 90, 77, 0, -33, half / 2, 1e-6},
		{"antipodes-on-the-equator", 0, 0, 0, 180, half, 1e-3},
		{"antipodes-oblique", 33.3, 44.4, -33.3, -135.6, half, 1e-3},
		{"across-the-date-line", 0, 179.5, 0, -179.5, half / 180, 1e-6},
		{"both-names-of-the-date-line", 10, 180, 10, -180, 0, 1e-6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, q := at(t, tt.lat1, tt.lon1), at(t, tt.lat2, tt.lon2)
			got := p.DistanceTo(q)
			if !(math.Abs(float64(got-tt.want)) <= float64(tt.within)) {
				t.Errorf("got %v, want %v", float64(got), float64(tt.want))
			}
			if back := q.DistanceTo(p); back != got {
				t.Errorf("there %v, back %v", got, back)
			}
		})
	}
}

func TestNowhere(t *testing.T) {
	var nowhere Point
	if nowhere.Known() {
		t.Error("the zero point is known")
	}
	if !at(t, 0, 0).Known() {
		t.Error("null island is nowhere")
	}
	for _, d := range []Distance{
		nowhere.DistanceTo(at(t, 0, 0)), at(t, 0, 0).DistanceTo(nowhere), nowhere.DistanceTo(nowhere),
	} {
		if d.Known() {
			t.Errorf("got %v to or from nowhere, want unknown", d)
		}
	}
	if got := nowhere.String(); got != "nowhere" {
		t.Errorf("got %q", got)
	}
	if got := Unknown.String(); got != "unknown" {
		t.Errorf("got %q", got)
	}
}

func TestAtRefuses(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, ll := range [][2]float64{
		{90.01, 0}, {-90.01, 0}, {0, 180.01}, {0, -180.01}, {nan, 0}, {0, nan}, {inf, 0}, {0, -inf},
	} {
		p, err := At(ll[0], ll[1])
		if err == nil {
			t.Errorf("At(%v, %v) is %v, want an error", ll[0], ll[1], p)
		}
		if p.Known() {
			t.Errorf("At(%v, %v) failed and yet is somewhere", ll[0], ll[1])
		}
	}
}

// No pair of points may be farther apart than half the circumference, be at a
// negative distance, or break the triangle inequality over a third one.
func FuzzDistance(f *testing.F) {
	f.Add(51.5, -0.12, 47.6, -122.33, 39.9, 116.4)
	f.Add(90.0, 0.0, -90.0, 180.0, 0.0, -180.0)
	f.Add(1e-300, 0.0, 0.0, 1e-300, 0.0, 0.0)
	f.Fuzz(func(t *testing.T, lat1, lon1, lat2, lon2, lat3, lon3 float64) {
		p, err1 := At(lat1, lon1)
		q, err2 := At(lat2, lon2)
		r, err3 := At(lat3, lon3)
		if err1 != nil || err2 != nil || err3 != nil {
			return
		}
		pq, qr, pr := p.DistanceTo(q), q.DistanceTo(r), p.DistanceTo(r)
		if !(pq >= 0 && float64(pq) <= math.Pi*float64(EarthRadius)+1e-6) {
			t.Errorf("distance %v between %v and %v", float64(pq), p, q)
		}
		if pr > pq+qr+1e-3 {
			t.Errorf("%v > %v + %v", pr, pq, qr)
		}
	})
}

func BenchmarkDistance(b *testing.B) {
	p, q := at(b, 51.5, -0.12), at(b, 47.6, -122.33)
	b.ReportAllocs()
	for b.Loop() {
		p.DistanceTo(q)
	}
}
