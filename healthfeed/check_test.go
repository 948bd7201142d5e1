package healthfeed

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A check that cannot be made here does not spoil the inventory of another process. It
// is passed on as it came, so that those behind who can make it do.
func TestForeignChecks(t *testing.T) {
	for _, test := range []struct {
		name, check string
		foreign     bool
	}{
		{"known", `{"type":"tcp","addr":"a:1"}`, false},
		{"null", `{"type":"tcp","addr":"a:1","body":null}`, false},
		{"type", `{"type":"quic","addr":{"ports":[1,2.50]},"critical":false}`, true},
		{"field", `{"type":"tcp","addr":"a:1","banner":"220 <x>"}`, true},
		{"ca", `{"type":"http","url":"https://a/","ca":"/ca.pem"}`, true},
		{"password", `{"type":"redis","addr":"a:1","password_env":"HOME"}`, true},
	} {
		from := []byte(`{"nodes": [{"id": "a", "addrs": ["192.0.2.1"], "checks": [` + test.check + `]}]}`)
		var inv, again Inventory
		if err := json.Unmarshal(from, &inv); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		c := inv.Nodes[0].Checks[0]
		if (c.Foreign != "") != test.foreign || test.foreign && c.Foreign != strings.NewReplacer("<", `\u003c`, ">", `\u003e`).Replace(test.check) {
			t.Errorf("%s: got %q", test.name, c.Foreign)
		}
		if c.Critical == strings.Contains(test.check, "false") {
			t.Errorf("%s: critical %v", test.name, c.Critical)
		}
		written, err := json.Marshal(&inv)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &again); err != nil || !inv.Equal(&again) {
			t.Errorf("%s: passed on as %s, %v", test.name, written, err)
		}
	}
	for _, bad := range []string{`{"type":"tcp"}`, `{"type":7}`, `{"addr":"a:1"}`, `{"type":"quic","critical":1}`, `[]`} {
		var inv Inventory
		if err := json.Unmarshal([]byte(`{"nodes": [{"id": "a", "addrs": ["192.0.2.1"], "checks": [`+bad+`]}]}`), &inv); err == nil {
			t.Errorf("%s: taken: %+v", bad, inv.Nodes[0].Checks)
		}
	}
}

// An inventory from elsewhere is as strict as a file of one's own, and opens no file here.
func TestParseSharedInventory(t *testing.T) {
	for check, want := range map[string]string{
		`{"type":"redis","addr":"a:1","password_file":"/etc/passwd"}`: "",
		`{"type":"redis","addr":"a:1","password_env":"HOME"}`:         "",
		`{"type":"http","url":"https://a/","ca":"/ca.pem"}`:           "",
		`{"type":"tcp","addr":"a:1","banner":"x"}`:                    `unknown field "banner"`,
	} {
		inv, err := ParseSharedInventory("n", []byte(`{"nodes": [{"id": "a", "addrs": ["192.0.2.1"], "checks": [`+check+`]}]}`))
		if want != "" {
			if err == nil || !strings.HasPrefix(err.Error(), "n:1: "+want) {
				t.Errorf("%s: %v", check, err)
			}
			continue
		}
		if err != nil || inv.Nodes[0].Checks[0].Foreign != check {
			t.Errorf("%s: %+v, %v", check, inv, err)
		}
	}
}

// Every default, by type.
func TestCheckDefaults(t *testing.T) {
	common := Check{Interval: 2 * time.Second, Retries: 2, Fall: 3, Rise: 10, Critical: true}
	for _, test := range []struct {
		written string
		timeout time.Duration
		retries int
	}{
		{`"type": "http", "url": "http://192.0.2.1/"`, 500 * time.Millisecond, 2},
		{`"type": "tcp", "addr": "192.0.2.1:80"`, 300 * time.Millisecond, 2},
		{`"type": "grpc", "addr": "192.0.2.1:80"`, 1500 * time.Millisecond, 0},
		{`"type": "redis", "addr": "192.0.2.1:80"`, 500 * time.Millisecond, 2},
		{`"type": "icmp", "addr": "192.0.2.1"`, 500 * time.Millisecond, 2},
	} {
		inv, err := ParseInventory("nodes.json", []byte(`{"nodes": [{"id": "a", "addrs": ["192.0.2.1"], "checks": [{`+test.written+`}]}]}`))
		if err != nil {
			t.Errorf("%s: %v", test.written, err)
			continue
		}
		got, want := inv.Nodes[0].Checks[0], common
		want.Type, want.URL, want.Addr = got.Type, got.URL, got.Addr
		want.Timeout, want.Retries = test.timeout, test.retries
		if got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", test.written, got, want)
		}
		// The third round of failures ends within 8 s of the first of them: a round can
		// begin 2.2 s after the one before, or when that one ends.
		worst := got.Timeout * time.Duration(1+got.Retries)
		if slowest := 2*max(2200*time.Millisecond, worst) + worst + 2200*time.Millisecond; slowest > 8200*time.Millisecond {
			t.Errorf("%s: found after up to %v", test.written, slowest)
		}
	}
}

// What is written of a check is every field of it.
func TestCheckIsWrittenInFull(t *testing.T) {
	var c Check
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		default:
			f.SetInt(1)
		}
	}
	c.Foreign = ""
	written, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(written, &fields); err != nil {
		t.Fatal(err)
	}
	if len(fields) != v.NumField()-1 {
		t.Errorf("%d fields of %d: %s", len(fields), v.NumField()-1, written)
	}
}

func TestServerName(t *testing.T) {
	for _, test := range []struct {
		check Check
		want  string
	}{
		{Check{Type: "http", URL: "https://192.0.2.1:8443/"}, "192.0.2.1"},
		{Check{Type: "http", URL: "https://[2001:db8::1]/"}, "2001:db8::1"},
		{Check{Type: "http", URL: "https://192.0.2.1/", Host: "www.cdn.example"}, "www.cdn.example"},
		{Check{Type: "http", URL: "https://192.0.2.1/", Host: "www.cdn.example:8443"}, "www.cdn.example"},
		{Check{Type: "grpc", Addr: "[2001:db8::1]:1"}, "2001:db8::1"},
		{Check{Type: "grpc", Addr: "a.example:1", Host: "[2001:db8::2]:443"}, "2001:db8::2"},
		{Check{Type: "grpc", Addr: "a.example:1", Host: "a/b"}, ""},
	} {
		if got := test.check.ServerName(); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.check, got, test.want)
		}
	}
}

func FuzzInventoryFromPeer(f *testing.F) {
	for _, seed := range []string{"{}", httpCheck(`"new": 1`), check(`"type": "quic"`), check(`"type": "redis", "addr": "a:1", "password_file": "\ud800"`), node(`"colour": [null, {}]`)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var inv, again Inventory
		if json.Unmarshal(data, &inv) != nil {
			return
		}
		written, err := json.Marshal(&inv)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &again); err != nil || !inv.Equal(&again) {
			t.Fatalf("%s: passed on as %s, %v", data, written, err)
		}
	})
}
