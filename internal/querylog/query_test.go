package querylog

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// String is a query in a test.
func (q Query) testString() string {
	return fmt.Sprintf("%v %v %s %s %d %v", q.Client, q.Resolver, q.Name, q.Type, q.Count, q.BySubnet())
}

const usual = `[INFO] 192.0.2.53:4711 - 7 "A IN Www.cdn.example. udp 41 false 4096" NOERROR qr,aa,rd 106 0.001s`

func TestParseLine(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"log-plugin", usual, "192.0.2.53/32 192.0.2.53 www.cdn.example. A 1 false"},
		{"after-a-time", "Nov 20 12:00:01 ns1 coredns[7]: " + usual, "192.0.2.53/32 192.0.2.53 www.cdn.example. A 1 false"},
		{"log-plugin-ipv6", `[2001:db8::35]:4711 - 7 "AAAA IN www.cdn.example. tcp 41 false 4096"`, "2001:db8::35/128 2001:db8::35 www.cdn.example. AAAA 1 false"},
		{"zone", `[fe80::1%eth0]:4711 - 7 "A IN www.cdn.example. udp`, "fe80::1/128 fe80::1 www.cdn.example. A 1 false"},
		{"chaos", `192.0.2.53:4711 - 7 "TXT CH www.cdn.example. udp 41"`, `the class is "CH", not IN`},
		{"no-port", `192.0.2.53 - 7 "A IN www.cdn.example. udp 41"`, `"192.0.2.53" is not an address with a port`},
		{"no-address", `home:53 - 7 "A IN www.cdn.example. udp 41"`, `"home" is not an address`},

		{"words", "[INFO] client=81.2.69.0/24 name=www.cdn.example. type=A resolver=192.0.2.53 node=lon1 why=nearest",
			"81.2.69.0/24 192.0.2.53 www.cdn.example. A 1 true"},
		{"any-order", "type=AAAA resolver=[2001:db8::35] client=2001:db8:1::/48 count=3", "2001:db8:1::/48 2001:db8::35  AAAA 3 true"},
		{"client-alone", "client=81.2.69.7", "81.2.69.7/32 invalid IP   1 true"},
		{"client-is-resolver", "client=192.0.2.53/32 resolver=192.0.2.53", "192.0.2.53/32 192.0.2.53   1 false"},
		{"subnet-of-the-resolver", "client=192.0.2.0/24 resolver=192.0.2.53", "192.0.2.0/24 192.0.2.53   1 true"},
		{"nobody-located", "client=- name=mx.cdn.example. type=MX resolver=192.0.2.53", "invalid Prefix 192.0.2.53 mx.cdn.example. MX 1 false"},
		{"bits-beyond", "client=81.2.69.7/24", "81.2.69.0/24 invalid IP   1 true"},
		{"v4-in-v6", "client=::ffff:81.2.69.7", "81.2.69.7/32 invalid IP   1 true"},
		{"bad-client", "client=lon", `client: "lon" is neither a network nor an address`},
		{"bad-prefix", "client=81.2.69.0/33", `client: "81.2.69.0/33" is neither a network nor an address`},
		{"bad-resolver", "client=81.2.69.0/24 resolver=x", `resolver: "x" is not an address`},
		{"bad-count", "client=81.2.69.0/24 count=0", `count: "0" is not a number from 1 to 1099511627776`},

		{"json", `{"level":"info","msg":"whatever","client_ip":"192.0.2.53","qname":"www.cdn.example.","qtype":"A","qclass":"IN"}`,
			"192.0.2.53/32 192.0.2.53 www.cdn.example. A 1 false"},
		{"json-words", `{"msg":"client=81.2.69.0/24 type=A","client_ip":"192.0.2.53"}`, "81.2.69.0/24 invalid IP  A 1 true"},
		{"json-other", `{"level":"info","msg":"CoreDNS-1.15.0"}`, errNoQuery.Error()},
		{"json-cut", `{"level":"info"`, "JSON: unexpected end of JSON input"},

		{"bare", "81.2.69.0/24", "81.2.69.0/24 invalid IP   1 true"},
		{"bare-count", " 2001:db8::/32\t1200 ", "2001:db8::/32 invalid IP   1200 true"},
		{"bare-negative", "81.2.69.0/24 -1", `"-1" is not a number from 1 to 1099511627776`},
		{"banner", "CoreDNS-1.15.0", `"CoreDNS-1.15.0" is neither a network nor an address`},
		{"startup", `[INFO] plugin/reload: Running configuration SHA512 = 5d`, errNoQuery.Error()},
		{"quoted", `[ERROR] plugin/errors: 2 "x"`, errNoQuery.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, err := ParseLine(tt.line)
			got := q.testString()
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestRead(t *testing.T) {
	log := "# a comment\n\n" + usual + "\r\n.:53\n" + strings.Repeat("x", 3*maxLine) + "\n81.2.69.0/24 7"
	var counts []uint64
	var s Stats
	if err := s.Read(strings.NewReader(log), "q.log", func(q *Query) { counts = append(counts, q.Count) }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(counts) != "[1 7]" || s.Queries != 2 || s.Unread != 2 {
		t.Errorf("counts %v, %+v", counts, s)
	}
	want := `[q.log:4: ".:53" is neither a network nor an address q.log:5: the line is longer than 65536 bytes]`
	if got := fmt.Sprint(s.First); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for range 10 {
		s.line("bad", "q.log", 9, nil)
	}
	if s.Unread != 12 || len(s.First) != maxBad {
		t.Errorf("%d lines unread, %d remembered", s.Unread, len(s.First))
	}
	broken := errors.New("broken")
	if err := s.Read(iotest.ErrReader(broken), "q.log", nil); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestReadFile(t *testing.T) {
	const log = "81.2.69.0/24 7\n"
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	g.Write([]byte(log))
	g.Close()
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	z.Write([]byte(log))
	z.Close()
	dir := t.TempDir()
	files := map[string][]byte{"q.log": []byte(log), "q.log.gz": gz.Bytes(), "q.log.zst": zst.Bytes(), "cut.gz": gz.Bytes()[:20], "no.zst": []byte(log)}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		file string
		fine bool
	}{{"q.log", true}, {"q.log.gz", true}, {"q.log.zst", true}, {"-", true}, {"cut.gz", false}, {"no.zst", false}, {"absent", false}} {
		file := tt.file
		if file != "-" {
			file = filepath.Join(dir, file)
		}
		var s Stats
		total := uint64(0)
		err := s.ReadFile(file, strings.NewReader(log), func(q *Query) { total += q.Count })
		if (err == nil) != tt.fine || tt.fine && total != 7 {
			t.Errorf("%s: %d queries, error %v", tt.file, total, err)
		}
	}
}

// What is read is sound, and says the same when it is written as words.
func FuzzParseLine(f *testing.F) {
	for _, line := range []string{usual, "client=81.2.69.0/24 name=a type=A resolver=[::1] count=3", "::/0 7", `{"client_ip":"::1","qclass":"IN"}`, "client=-", `"`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		q, err := ParseLine(line)
		if err != nil {
			if q != (Query{}) {
				t.Errorf("%q: an error, and half a query %+v", line, q)
			}
			return
		}
		if q.Count == 0 || q.Client.IsValid() && q.Client != q.Client.Masked() || q.Resolver.Is4In6() || q.Resolver.Zone() != "" {
			t.Fatalf("%q: unsound %+v", line, q)
		}
		if strings.ContainsAny(q.Name+q.Type, " \t\n\v\f\r\u0085\u00a0\"") || strings.ContainsFunc(q.Name+q.Type, func(c rune) bool { return c > 127 }) {
			return // no word
		}
		client, resolver := "-", "-"
		if q.Client.IsValid() {
			client = q.Client.String()
		}
		if q.Resolver.IsValid() {
			resolver = q.Resolver.String()
		}
		again, err := ParseLine(fmt.Sprintf("client=%s resolver=%s name=%s type=%s count=%d", client, resolver, q.Name, q.Type, q.Count))
		if err != nil || again != q {
			t.Errorf("%q: %+v, and again %+v, %v", line, q, again, err)
		}
	})
}

func TestParseClient(t *testing.T) {
	q, err := ParseClient("81.2.69.0/24", "192.0.2.53")
	if want := (Query{Client: netip.MustParsePrefix("81.2.69.0/24"), Resolver: netip.MustParseAddr("192.0.2.53"), Count: 1}); err != nil || q != want {
		t.Errorf("%+v, %v", q, err)
	}
	for _, bad := range [][2]string{{"x", ""}, {"81.2.69.0/24", "x"}} {
		if _, err := ParseClient(bad[0], bad[1]); err == nil || !strings.Contains(err.Error(), `"x"`) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

func BenchmarkParseLine(b *testing.B) {
	for name, line := range map[string]string{"default": usual, "words": "client=81.2.69.0/24 name=www.cdn.example. type=A resolver=192.0.2.53"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseLine(line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
