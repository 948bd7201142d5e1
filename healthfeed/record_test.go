package healthfeed

import (
	"strings"
	"testing"
)

// While versions are mixed, a reader takes what it knows from the records of a newer one
// and passes over the rest.
func TestRecordOfANewerVersion(t *testing.T) {
	f := open(t, Config{Inventory: watched(t, "n")})
	do(t, f.Receive([]byte(`{"kind": "snapshot/2", "records": [{"age_ms": 0, "site": "x", "prober": "p", "epoch": 1, "seq": 1,
		"interval_ms": 2000, "ttl_ms": 15000, "vector": {"p": [1, 1]},
		"nodes": {"n": {"state": "down", "health": 0, "gpu": 0.5, "load": {"cpu": 0.1, "temp": 67}, "rtt_us": {"p50": 1, "p95": 2, "p99": 3}},
			"m": {"state": "up", "health": 100}}}],
		"purges": [{"tag": "x"}]}`), 0))
	eventually(t, "the vote counts", func() bool { return state(f, "n") == Down })
}

// A byte that is torn inside a string is no other string.
func TestSnapshotIsUTF8(t *testing.T) {
	f := open(t, Config{Inventory: watched(t, "n")})
	err := f.Receive([]byte("{\"records\": [{\"prober\": \"p\", \"epoch\": 1, \"seq\": 1, \"interval_ms\": 1, \"ttl_ms\": 1, \"nodes\": {\"n\xee\": {}}}]}"), 0)
	if err == nil || !strings.Contains(err.Error(), "UTF-8") || f.Refused() != 1 {
		t.Errorf("got %v, %d refused", err, f.Refused())
	}
}
