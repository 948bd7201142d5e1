package probe

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// redisNode answers every line that ends a command with the next of the replies, and
// sends what it read, without line ends, when the connection ends.
func redisNode(t *testing.T, l net.Listener, replies ...string) (addr string, read <-chan string) {
	t.Helper()
	heard := make(chan string, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var said strings.Builder
			r := bufio.NewReader(conn)
			for _, reply := range replies {
				if line, err := r.ReadString('\n'); err == nil { // *N
					for n := int(line[1] - '0'); n > 0; n-- {
						r.ReadString('\n') // $LENGTH
						word, _ := r.ReadString('\n')
						said.WriteString(strings.TrimSpace(word) + " ")
					}
					io.WriteString(conn, reply)
				}
			}
			conn.Close()
			heard <- strings.TrimSpace(said.String())
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), heard
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAttemptRedis(t *testing.T) {
	secret := t.TempDir() + "/secret"
	if err := os.WriteFile(secret, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir() + "/empty"
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REDIS_SECRET", "hush")
	for _, test := range []struct {
		name    string
		check   healthfeed.Check
		replies []string
		heard   string
		want    string // error
		own     bool   // it is the prober's fault
	}{
		{"pong", healthfeed.Check{}, []string{"+PONG\r\n"}, "PING", "", false},
		{"file", healthfeed.Check{PasswordFile: secret}, []string{"+OK\r\n", "+PONG\r\n"}, "AUTH open sesame PING", "", false},
		{"user", healthfeed.Check{User: "probe", PasswordEnv: "REDIS_SECRET"}, []string{"+OK\r\n", "+PONG\r\n"}, "AUTH probe hush PING", "", false},
		{"no-file", healthfeed.Check{PasswordFile: secret + "x"}, nil, "", "secretx", true},
		{"empty-file", healthfeed.Check{PasswordFile: empty}, nil, "", "there is no password in it", true},
		{"no-variable", healthfeed.Check{PasswordEnv: "NO_REDIS_SECRET"}, nil, "", "NO_REDIS_SECRET is not set", true},
		{"noauth", healthfeed.Check{}, []string{"-NOAUTH Authentication required.\r\n"}, "PING", "PING: NOAUTH: the server wants a password", true},
		{"wrongpass", healthfeed.Check{PasswordEnv: "REDIS_SECRET"}, []string{"-WRONGPASS invalid username-password pair\r\n", "-NOAUTH\r\n"}, "AUTH hush PING", "AUTH: WRONGPASS", true},
		{"needs-none", healthfeed.Check{PasswordEnv: "REDIS_SECRET"}, []string{"-ERR AUTH <password> called without any password configured\r\n", "+PONG\r\n"}, "AUTH hush PING", "AUTH: ERR", true},
		{"loading", healthfeed.Check{}, []string{"-LOADING Redis is loading the dataset in memory\r\n"}, "PING", "LOADING: the server is reading its data set", false},
		{"masterdown", healthfeed.Check{}, []string{"-MASTERDOWN Link with MASTER is down\r\n"}, "PING", `"MASTERDOWN Link with MASTER is down"`, false},
		{"other", healthfeed.Check{}, []string{"HTTP/1.1 400 Bad Request\r\n"}, "PING", "is not +PONG", false},
		{"flood", healthfeed.Check{}, []string{strings.Repeat("x", 10_000) + "\r\n"}, "PING", "more than 512 bytes", false},
		{"cut", healthfeed.Check{}, []string{"+PO"}, "PING", "unexpected EOF", false},
		{"bare", healthfeed.Check{}, []string{"+PONG\n"}, "PING", "does not end as RESP has it", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, heard := redisNode(t, listen(t), test.replies...)
			test.check.Type, test.check.Addr = "redis", addr
			a, err := try(t, test.check, 20*time.Second)
			if test.want == "" && (err != nil || a.rtt <= 0) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %+v, %v", a, err)
			}
			if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "sesame")) {
				t.Errorf("a password in %v", err)
			}
			if errors.As(err, new(unableError)) != test.own {
				t.Errorf("whose fault: %v", err)
			}
			if test.heard != "" {
				if got := <-heard; got != test.heard {
					t.Errorf("heard %q", got)
				}
			}
		})
	}
}

func TestAttemptRedisTLS(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, "redis.cdn.example")}}
	addr, _ := redisNode(t, tls.NewListener(listen(t), config), "+PONG\r\n")
	c := healthfeed.Check{Type: "redis", Addr: addr, TLS: true, Host: "redis.cdn.example", CA: a.path("ca.pem")}
	if got, err := try(t, c, 20*time.Second); err != nil || got.rtt <= 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A server that takes the connection and says nothing is a failure after the timeout.
func TestAttemptRedisHang(t *testing.T) {
	l := listen(t)
	defer l.Close()
	if _, err := try(t, healthfeed.Check{Type: "redis", Addr: l.Addr().String()}, 50*time.Millisecond); err == nil || errors.As(err, new(unableError)) {
		t.Errorf("got %v", err)
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"", "+PONG\r\n", "+OK\r\n", "-NOAUTH x\r\n", "-LOADING\r\n", "-\r\n", "\r\n", "$4\r\nPONG\r\n", "+PONG", strings.Repeat("x", maxReply) + "\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		err := reply(bufio.NewReaderSize(strings.NewReader(in), maxReply), "PONG")
		if passes := strings.HasPrefix(in, "+PONG\r\n"); (err == nil) != passes {
			t.Fatalf("%q: %v", in, err)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
	})
}
