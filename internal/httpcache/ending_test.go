package httpcache

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestEnding(t *testing.T) {
	for _, tc := range []struct {
		percent      int
		cacheControl string
		age          int // on arrival
		from, to     int // seconds after arrival; none if to is 0
	}{
		{0, "max-age=100", 0, 96, 100},
		{0, "max-age=60", 0, 58, 60},
		{20, "max-age=100", 0, 81, 100},
		{0, "max-age=86400", 0, 86371, 86400},  // at most 30 s
		{50, "max-age=86400", 0, 86371, 86400}, // whatever the percentage
		{0, "max-age=29", 0, 0, 0},
		{0, "max-age=100", 80, 0, 0},   // had but 20 s left
		{0, "max-age=100", 40, 58, 60}, // had 60 s left
		{-1, "max-age=100", 0, 0, 0},
		{0, "max-age=100, no-cache", 0, 0, 0},
	} {
		p := &Policy{EarlyRefresh: tc.percent}
		header := http.Header{"Cache-Control": {tc.cacheControl}, "Age": {fmt.Sprint(tc.age)}}
		s := p.NewStored(&http.Request{Method: "GET", Header: http.Header{}}, 200, header, t0, t0)
		for after := range 86500 {
			want := after >= tc.from && after < tc.to
			if got := p.Ending(s, t0.Add(time.Duration(after)*time.Second)); got != want {
				t.Errorf("%+v: after %d s: %v", tc, after, got)
				break
			}
		}
	}
}
