package edgehealth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/freeport"
)

// The feed and Caddy's own health checks both have a say. These tests are about
// who wins when they leave nobody.

func TestFullIsNotDown(t *testing.T) {
	s := newServer(t)
	arrived, leave := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-leave
		fmt.Fprint(w, "ams1")
	}))
	defer slow.Close()
	lon := upstream(t, "127.0.0.2", "lon1")
	s.mustLoad("edgehealth {\n nodes "+s.write("nodes.json", twoNodes)+"\n }",
		fmt.Sprintf("reverse_proxy %s %s {\n lb_policy edgehealth\n unhealthy_request_count 1\n }", slow.Listener.Addr(), lon))
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down})

	var wait sync.WaitGroup
	wait.Go(func() {
		if status, body := s.get("/"); status != http.StatusOK || body != "ams1" {
			t.Errorf("the slow request got %d %q", status, body)
		}
	})
	<-arrived
	if status, body := s.get("/"); status != http.StatusServiceUnavailable {
		t.Errorf("got %d %q while the only node is full, want 503: a node that is down is no help", status, body)
	}
	close(leave)
	wait.Wait()
}

func TestDrainingIsBetterThanNobody(t *testing.T) {
	s := newServer(t)
	port, err := freeport.On(freeport.Loopback) // where nobody listens
	if err != nil {
		t.Fatal(err)
	}
	lon := upstream(t, "127.0.0.2", "lon1")
	s.mustLoad("edgehealth {\n nodes "+s.write("nodes.json", twoNodes)+"\n }",
		fmt.Sprintf("reverse_proxy 127.0.0.1:%d %s {\n lb_policy edgehealth\n fail_duration 1m\n max_fails 1\n }", port, lon))
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Draining})
	if status, _ := s.get("/"); status != http.StatusBadGateway {
		t.Errorf("got %d from a node that is up in the feed and does not answer, want 502", status)
	}
	if got, want := s.answers(4), "lon1"; got != want {
		t.Errorf("once Caddy knows: answers from %q, want %q", got, want)
	}
}

func TestUpstreamsThatAreNoNodes(t *testing.T) {
	s := newServer(t)
	other := upstream(t, "127.0.0.3", "other")
	lon := upstream(t, "127.0.0.2", "lon1")
	s.mustLoad("edgehealth {\n nodes "+s.write("nodes.json", twoNodes)+"\n }",
		fmt.Sprintf("reverse_proxy %s %s {\n lb_policy edgehealth round_robin\n }", lon, other))
	new(voter).say(t, map[string]healthfeed.State{"lon1": healthfeed.Down})
	for range 4 {
		if _, body := s.get("/"); body != "other" {
			t.Errorf("answer from %q, want the upstream that the feed knows nothing of", body)
		}
	}
}

func TestRequestsDuringReloads(t *testing.T) {
	s := newServer(t)
	ams, lon := upstream(t, "127.0.0.1", "ams1"), upstream(t, "127.0.0.2", "lon1")
	global := "edgehealth {\n nodes " + s.write("nodes.json", twoNodes) + "\n }"
	site := fmt.Sprintf("reverse_proxy %s %s {\n lb_policy edgehealth round_robin\n }", ams, lon)
	s.mustLoad(global, site)
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down})

	done := make(chan struct{})
	var wait sync.WaitGroup
	during := func(what string, check func() error) {
		wait.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					if n == 0 {
						t.Errorf("%s: nothing was asked during the reloads", what)
					}
					return
				default:
				}
				if err := check(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	during("site", func() error {
		if status, body := s.get("/"); status != http.StatusOK || body != "ams1" {
			return fmt.Errorf("got %d %q, want ams1", status, body)
		}
		return nil
	})
	during("admin", func() error {
		if status, a := s.nodes(); status != http.StatusOK || a.state("lon1") != "down" {
			return fmt.Errorf("got %d %+v, want lon1 down", status, a)
		}
		return nil
	})
	for i := range 20 {
		if i%2 == 0 {
			s.mustLoad(global, site)
		} else if err := s.load(global, "reverse_proxy 192.0.2.1 {\n lb_policy edgehealth random_choose 1\n }"); err == nil {
			t.Error("the wrong configuration was taken")
		}
	}
	close(done)
	wait.Wait()
}
