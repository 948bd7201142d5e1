package measure

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	turn := func(ms int) Turn { return Turn{time.Duration(ms) * time.Millisecond, 1000, 2} }
	got := Median([]Turn{turn(9), turn(2), turn(4)})
	if got.Micros() != 4 || got.Rate() != 500 {
		t.Errorf("got %v µs, %v/s, want 4 µs, 500/s", got.Micros(), got.Rate())
	}
}

func TestCutName(t *testing.T) {
	for word, want := range map[string]string{
		"CoreDNS-1.15.0": "1.15.0", "varnish-7.1.1": "7.1.1", "1.18.0-rc1": "1.18.0-rc1", "v2.11.9": "v2.11.9", "3.8.1": "3.8.1",
	} {
		if _, got := cutName(word); got != want {
			t.Errorf("%s: got %s, want %s", word, got, want)
		}
	}
}
