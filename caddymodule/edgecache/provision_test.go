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
		{`{}`, `{"ttl": 5}`, `unknown field "ttl"`},
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
		flight, _ := group.Join("a", time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		f := &fill{flight: flight, cancel: func() { cancel(errors.New("given up")) }}
		f.watch = time.AfterFunc(idleTimeout, f.check)

		follower, _ := group.Join("a", time.Now())
		leave, waited := context.WithTimeout(t.Context(), 10*idleTimeout+time.Second) // between two checks
		defer waited()
		if _, outcome, _ := follower.Wait(leave, 0); outcome != collapse.Gone || ctx.Err() != nil {
			t.Fatalf("outcome %d, cancelled: %v", outcome, ctx.Err())
		}
		for range 10 { // nobody waits, but there is progress
			f.active.Store(true)
			time.Sleep(idleTimeout)
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
