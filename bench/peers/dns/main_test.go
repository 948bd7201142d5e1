package main

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

// Every question is in the file for dnsperf, as a message with its subnet, and in
// the database once.
func TestWorld(t *testing.T) {
	w, err := newWorld(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(w.load)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, q := range w.questions {
		n := 2 + int(binary.BigEndian.Uint16(data))
		m := new(dns.Msg)
		if err := m.Unpack(data[2:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
		e := m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET)
		if got := strings.TrimSuffix(e.String(), "/0"); got != q.prefix.String() || seen[got] {
			t.Fatalf("got %s, want %v, once", got, q.prefix)
		}
		seen[q.prefix.String()] = true
	}
	if len(data) > 0 {
		t.Errorf("%d bytes are left", len(data))
	}
}

func TestTable(t *testing.T) {
	turn := func(ms int) measure.Turn {
		return measure.Turn{CPU: time.Duration(ms) * time.Millisecond, Answered: 1000, Seconds: 1}
	}
	rows := []*row{
		{peer: peer{name: "ours"}, file: "/nonexistent", measured: []measure.Turn{turn(9), turn(2), turn(4)}},
		{peer: peer{name: "theirs"}, absent: true},
		{peer: peer{name: "slow"}, file: "/nonexistent", measured: []measure.Turn{turn(8)}},
	}
	var out strings.Builder
	if err := table(&out, &world{}, rows, options{}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"| ours | ? | 4.00 | 1.00 | 1000 |", "| theirs | not installed | | | |", "| slow | ? | 8.00 | 2.00 | 1000 |"} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, &out)
		}
	}
}
