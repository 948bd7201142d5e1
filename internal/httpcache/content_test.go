package httpcache

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestContent: a GET with content is not for the cache. Over HTTP/3 every GET
// has content of unknown length as far as the server knows when it begins.
func TestContent(t *testing.T) {
	for _, tt := range []struct {
		name   string
		length int64
		major  int
		want   Verdict
	}{
		{"none", 0, 1, Miss},
		{"some", 5, 1, Bypass},
		{"chunked", -1, 1, Bypass},
		{"unknown-h2", -1, 2, Bypass},
		{"unknown-h3", -1, 3, Miss},
		{"some-h3", 5, 3, Bypass},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "http://example.org/", nil)
			r.ContentLength, r.ProtoMajor = tt.length, tt.major
			if got := new(Policy).Decide(r, nil, time.Time{}); got.Verdict != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
