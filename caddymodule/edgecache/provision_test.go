package edgecache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/tandem-cdn/tandem/internal/collapse"
)

// What the JSON may get wrong is refused with the offending word, and leaves
// no reference behind.
func TestBadJSON(t *testing.T) {
	for _, tc := range []struct{ app, handler, want string }{
		{`{}`, `{"store": "nowhere"}`, `store "nowhere" is not defined`},
		{`{}`, `{"name": "a\nb"}`, `name "a\nb"`},
		{`{}`, `{"max_object": -5}`, `max_object -5`},
		{`{}`, `{"lifetime": 5}`, `unknown field "lifetime"`},
		{`{}`, `{"preset": "fast"}`, `preset "fast"`},
		{`{}`, `{"targeted": ["a b"]}`, `targeted "a b"`},
		{`{}`, `{"default_ttl": -5}`, `default_ttl -5ns`},
		{`{}`, `{"min_ttl": "2h", "max_ttl": "1h"}`, `min_ttl 2h0m0s is larger than max_ttl 1h0m0s`},
		{`{}`, `{"ttl": {"304": "5s"}}`, `ttl 304`},
		{`{}`, `{"ttl": {"404": "-5s"}}`, `ttl 404 -5s`},
		{`{}`, `{"jitter": 51}`, `jitter 51`},
		{`{}`, `{"client_cache_control": "yes"}`, `client_cache_control "yes"`},
		{`{}`, `{"stale_while_revalidate": "-5s"}`, `stale_while_revalidate -5s`},
		{`{}`, `{"stale_if_error": "-5s"}`, `stale_if_error -5s`},
		{`{}`, `{"keep": "-5s"}`, `keep -5s`},
		{`{}`, `{"stale_s_maxage": "lax"}`, `stale_s_maxage "lax"`},
		{`{"stores": {"a": {"memory": -7}}}`, `{}`, `store "a": memory -7`},
		{`{"stores": {"a": {"max_object": -7}}}`, `{}`, `store "a": max_object -7`},
		{`{"stores": {"a": {"memory": 4096, "max_object": 4097}}}`, `{}`, `store "a": max_object 4097 is larger than memory 4096`},
		{`{"stores": {"a": {"disk": 7}}}`, `{}`, `unknown field "disk"`},
	} {
		handler := strings.Replace(tc.handler, "{", `{"handler": "edgecache",`, 1)
		text := fmt.Sprintf(`{"admin": {"disabled": true}, "apps": {"edgecache": %s, "http": {"servers": {"s": {
			"listen": ["127.0.0.1:0"], "routes": [{"handle": [%s]}]}}}}}`, tc.app, strings.Replace(handler, ",}", "}", 1))
		cfg := new(caddy.Config)
		if err := json.Unmarshal([]byte(text), cfg); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %s: got %v, want %s", tc.app, tc.handler, err, tc.want)
		}
		for _, name := range []string{"a", defaultStore} {
			if n := refs(name); n != 0 {
				t.Errorf("%s %s: %d references to %s left", tc.app, tc.handler, n, name)
			}
		}
	}
}

// A fill that stands still is cancelled once nobody waits for it, and not
// before.
func TestStuckFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := collapse.NewGroup[*response](collapse.Limits{}, 0)
		terms := collapse.Terms{Waiters: 1, LockAge: 24 * time.Hour}
		flight, _ := group.Join("a", terms, time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		f := &fill{flight: flight, cancel: func() { cancel(errors.New("given up")) }}
		f.watch = time.AfterFunc(idleTimeout, f.check)

		follower, _ := group.Join("a", terms, time.Now())
		leave, waited := context.WithTimeout(t.Context(), 10*idleTimeout+time.Second) // between two checks
		defer waited()
		if _, outcome, _ := follower.Wait(leave, 24*time.Hour); outcome != collapse.Gone || ctx.Err() != nil {
			t.Fatalf("outcome %d, cancelled: %v", outcome, ctx.Err())
		}
		for range 10 { // nobody waits, but there is progress
			flight.Move(time.Now())
			time.Sleep(idleTimeout - time.Second)
			synctest.Wait()
			if ctx.Err() != nil {
				t.Fatal("cancelled in spite of progress")
			}
		}
		time.Sleep(2 * idleTimeout)
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("goes on for nobody")
		}
	})
}
