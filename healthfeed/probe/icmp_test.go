package probe

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestAttemptICMP(t *testing.T) {
	for name, addr := range map[string]string{"ipv4": "127.0.0.1", "ipv6": "::1", "mapped": "::ffff:127.0.0.1", "name": "localhost"} {
		t.Run(name, func(t *testing.T) {
			needsPing(t, !strings.HasPrefix(addr, ":") || name == "mapped")
			a, err := try(t, healthfeed.Check{Type: "icmp", Addr: addr}, 20*time.Second)
			if err != nil || a.rtt <= 0 {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

// needsPing skips a test where the kernel refuses both kinds of socket.
func needsPing(t *testing.T, v4 bool) {
	t.Helper()
	conn, _, err := listenICMP(v4)
	if err != nil {
		t.Skipf("the kernel refuses: %v", err)
	}
	conn.Close()
}

func TestEcho(t *testing.T) {
	for _, v4 := range []bool{true, false} {
		protocol, kind, reply := 58, byte(128), byte(129)
		if v4 {
			protocol, kind, reply = 1, 8, 0
		}
		e := newEcho(v4)
		request := e.request()
		if m, err := icmp.ParseMessage(protocol, request); err != nil || request[0] != kind || m.Body.Len(protocol) != 4+len(e.payload) {
			t.Fatalf("request %x: %v", request, err)
		}
		mine := bytes.Clone(request)
		mine[0] = reply
		foreign := bytes.Clone(mine)
		foreign[len(foreign)-1] ^= 1
		renumbered := bytes.Clone(mine)
		renumbered[4] ^= 1 // the identifier, which the kernel chooses
		for name, test := range map[string]struct {
			message []byte
			want    bool
		}{
			"reply": {mine, true}, "renumbered": {renumbered, true}, "request": {request, false}, "of-others": {foreign, false},
			"cut": {mine[:len(mine)-1], false}, "longer": {append(bytes.Clone(mine), 0), false}, "empty": {nil, false},
		} {
			if got := e.repliedBy(test.message); got != test.want {
				t.Errorf("IPv4 %v: %s: %v", v4, name, got)
			}
		}
	}
}

func FuzzEcho(f *testing.F) {
	for _, seed := range []string{"", "\x00\x00\x00\x00\x00\x01\x00\x010123456789abcdef", "\x81\x00\x00\x00\x00\x01\x00\x010123456789abcdef", "\x03\x01\x00\x00"} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, message []byte, v4 bool) {
		e := echo{request4: v4, payload: [16]byte([]byte("0123456789abcdef"))}
		reply := byte(129)
		if v4 {
			reply = 0
		}
		want := len(message) == 8+16 && message[0] == reply && bytes.HasSuffix(message, e.payload[:])
		if e.repliedBy(message) != want {
			t.Fatalf("%x: want %v", message, want)
		}
	})
}
