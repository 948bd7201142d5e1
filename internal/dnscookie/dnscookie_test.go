package dnscookie

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The examples of the paper's appendix, of texts that are the bytes 0, 1, 2, …
func TestSipHash(t *testing.T) {
	var key Secret
	for i := range key {
		key[i] = byte(i)
	}
	text := make([]byte, 64)
	for i := range text {
		text[i] = byte(i)
	}
	for n, want := range map[int]uint64{0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5} {
		if got := key.sipHash(text[:n]); got != want {
			t.Errorf("%d bytes: got %x, want %x", n, got, want)
		}
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func secret(t *testing.T, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The examples of RFC 9018, appendix A.
func TestRFC9018(t *testing.T) {
	old, now6 := secret(t, "dd3bdf9344b678b185a6f5cb60fca715"), secret(t, "445536bcd2513298075a5d379663c962")
	usual := secret(t, "e5e973e5a6b2a43f48e7dc849e37bfcf")
	for _, tt := range []struct {
		name     string
		secrets  []Secret
		from     string
		at       int64
		sent     string
		verifies bool
		want     string
	}{
		{"A.1-learn", []Secret{usual}, "198.51.100.100", 1559731985, "2464c4abcf10c957", false, "2464c4abcf10c957 010000005cf79f111f8130c3eee29480"},
		{"A.2-renew", []Secret{usual}, "198.51.100.100", 1559734385, "2464c4abcf10c957 010000005cf79f111f8130c3eee29480", true, "2464c4abcf10c957 010000005cf7a871d4a564a1442aca77"},
		{"A.3-reserved", []Secret{usual}, "203.0.113.203", 1559734700, "fc93fc62807ddb86 01abcdef5cf78f71a314227b6679ebf5", false, "fc93fc62807ddb86 010000005cf7a9acf73a7810aca2381e"},
		{"A.3-reserved-in-time", []Secret{usual}, "203.0.113.203", 0x5cf78f71 + 1800, "fc93fc62807ddb86 01abcdef5cf78f71a314227b6679ebf5", true, ""},
		{"A.4-rolled-over", []Secret{now6, old}, "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, "22681ab97d52c298 010000005cf7c57926556bd0934c72f8", true, "22681ab97d52c298 010000005cf7c609a6bb79d16625507a"},
		{"A.4-old-secret-gone", []Secret{now6}, "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, "22681ab97d52c298 010000005cf7c57926556bd0934c72f8", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent, from, at := unhex(t, tt.sent), netip.MustParseAddr(tt.from), time.Unix(tt.at, 0)
			if got := Verify(tt.secrets, sent, from, at); got != tt.verifies {
				t.Errorf("verifies: %v", got)
			}
			if got := tt.secrets[0].Make(sent, from, at); tt.want != "" && hex.EncodeToString(got[:]) != strings.ReplaceAll(tt.want, " ", "") {
				t.Errorf("got %x, want %s", got, tt.want)
			}
		})
	}
}

// A cookie is good for its client, at its address, for an hour and, by a clock that
// is behind, five minutes before.
func TestVerify(t *testing.T) {
	s, from := secret(t, strings.Repeat("0f", 16)), netip.MustParseAddr("192.0.2.1")
	for _, now := range []time.Time{time.Unix(1_700_000_000, 0), time.Unix(1<<32+100, 0)} { // the second one after 2106
		c := s.Make([]byte("a client"), from, now)
		for after, want := range map[time.Duration]bool{0: true, time.Hour: true, time.Hour + time.Second: false, -5 * time.Minute: true, -301 * time.Second: false} {
			if got := Verify([]Secret{{}, s}, c[:], from, now.Add(after)); got != want {
				t.Errorf("after %v: %v", after, got)
			}
		}
		for i := range c {
			other := c
			other[i] ^= 0x40
			if Verify([]Secret{s}, other[:], from, now) {
				t.Errorf("verifies with another byte %d", i)
			}
		}
		if Verify([]Secret{s}, c[:], netip.MustParseAddr("192.0.2.2"), now) || Verify([]Secret{{1}}, c[:], from, now) || Verify(nil, c[:], from, now) || Verify([]Secret{s}, c[:8], from, now) {
			t.Error("verifies for others")
		}
		if !Verify([]Secret{s}, c[:], netip.MustParseAddr("::ffff:192.0.2.1"), now) {
			t.Error("the same address, written as IPv6, is another")
		}
	}
}

func TestParseSecret(t *testing.T) {
	good := strings.Repeat("aB", 16)
	for text, ok := range map[string]bool{good: true, " " + good + "\r\n": true, good + good: false, good[1:]: false, "": false, "0x" + good[2:]: false, good + "\n" + good: false} {
		_, err := ParseSecret(text)
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && len(text) > 4 && strings.Contains(err.Error(), text[4:]) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

func TestWellFormed(t *testing.T) {
	for n := range 50 {
		if want := n == 8 || n >= 16 && n <= 40; WellFormed(n) != want {
			t.Errorf("%d bytes: %v", n, !want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte("a client"), uint32(1_700_000_000))
	f.Add(make([]byte, Length), uint32(0))
	f.Fuzz(func(t *testing.T, option []byte, at uint32) {
		from, now := netip.MustParseAddr("2001:db8::1"), time.Unix(int64(at), 0)
		s := Secret{1, 2, 3}
		if Verify([]Secret{{}}, option, from, now) && len(option) != Length {
			t.Error("verifies")
		}
		if c := s.Make(option, from, now); !Verify([]Secret{s}, c[:], from, now) {
			t.Error("what was made does not verify")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s, from, now := Secret{1}, netip.MustParseAddr("192.0.2.1"), time.Now()
	c := s.Make([]byte("a client"), from, now)
	b.ReportAllocs()
	for b.Loop() {
		if !Verify([]Secret{s}, c[:], from, now) {
			b.Fatal("does not verify")
		}
	}
}
