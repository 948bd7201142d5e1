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

// Words that a newer version has for what it sees, plans or was told take nothing away of what
// stands beside them: that would be the whole feed, while versions are mixed.
func TestWordsOfANewerVersion(t *testing.T) {
	f := open(t, Config{})
	do(t, f.Receive([]byte(`{
		"inventory": {"nodes": [{"id": "m", "addrs": ["192.0.2.1"], "state": "resting", "checks": [{"type": "tcp", "addr": "192.0.2.1:80"}]},
			{"id": "n", "addrs": ["192.0.2.2"], "checks": [{"type": "tcp", "addr": "192.0.2.2:80"}]},
			{"id": "o", "addrs": ["192.0.2.3"], "release": "r7", "checks": [{"type": "tcp", "addr": "192.0.2.3:80"}]}]},
		"records": [{"prober": "p", "epoch": 1, "seq": 1, "interval_ms": 2000, "ttl_ms": 15000, "nodes": {
			"m": {"state": "sleepy", "health": 50},
			"n": {"state": "down", "health": 0},
			"o": {"state": "up", "health": 100, "release": {"name": "r7", "stage": 9}}}}],
		"overrides": [{"node": "m", "state": "hidden", "rev": 1}, {"node": "o", "state": "drain", "rev": 1}]}`), 0))
	eventually(t, "the votes count that are known", func() bool { return state(f, "n") == Down })
	if m, o := state(f, "m"), state(f, "o"); m != Unknown || o != Draining {
		t.Errorf("m is %v, o is %v", m, o)
	}
	if o, _ := f.Override("m"); o.State != "hidden" {
		t.Errorf("what was said of m is not passed on: %+v", o)
	}
	if s := f.Table().Nodes[2]; s.part != plan[0] {
		t.Errorf("the release has come to %v", s.part)
	}
	if _, err := ParseInventory("nodes.json", []byte(`{"nodes": [{"id": "m", "addrs": ["192.0.2.1"], "state": "resting"}]}`)); err == nil {
		t.Error("the operator's own file may have words that do not exist")
	}
}

// A byte that is torn inside a string is no other string.
func TestSnapshotIsUTF8(t *testing.T) {
	f := open(t, Config{Inventory: watched(t, "n")})
	err := f.Receive([]byte("{\"records\": [{\"prober\": \"p\", \"epoch\": 1, \"seq\": 1, \"interval_ms\": 1, \"ttl_ms\": 1, \"nodes\": {\"n\xee\": {}}}]}"), 0)
	if err == nil || !strings.Contains(err.Error(), "UTF-8") || f.Refused() != 1 {
		t.Errorf("got %v, %d refused", err, f.Refused())
	}
}
