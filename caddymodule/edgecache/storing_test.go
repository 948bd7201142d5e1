package edgecache

import (
	"net/http"
	"strings"
	"testing"
)

func TestSetCookie(t *testing.T) {
	for _, tc := range []struct {
		word   string
		stored bool
		cookie string // what the first and the second client get
	}{
		{"skip", false, "session=1"},
		{"strip", true, ""},
		{"store", true, "session=1"},
	} {
		t.Run(tc.word, func(t *testing.T) {
			site := strings.Replace(site, "edgecache", "edgecache {\nset_cookie "+tc.word+"\n}", 1)
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Set-Cookie", "session=1")
				cacheable(w, "page")
			})
			first := e.get("/")
			if got := first.header.Get("Set-Cookie"); got != tc.cookie {
				t.Errorf("the first client got %q", got)
			}
			second := e.get("/")
			if hit := strings.Contains(second.cacheStatus(), "; hit"); hit != tc.stored {
				t.Error(second.cacheStatus())
			}
			if got := second.header.Get("Set-Cookie"); got != tc.cookie {
				t.Errorf("the second client got %q", got)
			}
		})
	}
}
