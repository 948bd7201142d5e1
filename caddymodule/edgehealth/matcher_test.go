package edgehealth

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestMatcher(t *testing.T) {
	s := newServer(t)
	t.Cleanup(func() { here().drain.stop() })
	global := "edgehealth {\n self ams1\n nodes " + s.write("nodes.json", twoNodes) + "\n }"
	s.mustLoad(global, `
	@lon edgehealth node lon1 down draining
	@leaving edgehealth self draining
	@weak edgehealth node ams1 degraded
	@nobody {
		path /nobody
		edgehealth node nobody unknown
	}
	handle @lon {
		respond "lon1 is away"
	}
	handle @leaving {
		respond leaving
	}
	handle @weak {
		respond weak
	}
	handle @nobody {
		respond unknown
	}
	respond well`)
	want := func(path, body string) {
		t.Helper()
		if _, got := s.get(path); got != body {
			t.Errorf("%s: got %q, want %q", path, got, body)
		}
	}
	var prober voter
	want("/", "well")
	want("/nobody", "unknown")
	prober.say(t, map[string]healthfeed.State{"ams1": healthfeed.Degraded, "lon1": healthfeed.Up})
	want("/", "weak")
	prober.say(t, map[string]healthfeed.State{"ams1": healthfeed.Draining, "lon1": healthfeed.Up})
	want("/", "leaving")
	prober.say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Up})
	want("/", "well")
	here().drain.start(t0) // before the feed hears of it
	want("/", "leaving")
	prober.say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down})
	want("/", "lon1 is away")
}

func TestMatcherNeeds(t *testing.T) {
	s := newServer(t)
	nodes := s.write("nodes.json", twoNodes)
	for _, tt := range []struct{ global, matcher, want string }{
		{"", "self up", "matcher edgehealth has no feed"},
		{"edgehealth {\n nodes " + nodes + "\n }", "self up", "the global option edgehealth has no self"},
	} {
		err := s.load(tt.global, fmt.Sprintf("@x edgehealth %s\n respond @x hello", tt.matcher))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	s := newServer(t)
	t.Cleanup(func() { here().drain.stop() })
	s.mustLoad("edgehealth {\n self ams1\n nodes "+s.write("nodes.json", twoNodes)+"\n }",
		"edgehealth\n respond `{edgehealth.self.id} {edgehealth.self.state} {edgehealth.self.health} {edgehealth.node.lon1.state}, {edgehealth.node.lon1.reason}, {edgehealth.node.lon1.acceptance}, {edgehealth.freshness}`")
	if _, got := s.get("/"); got != "ams1 up 1 up, no checks, 1, static" {
		t.Errorf("got %q", got)
	}
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down})
	here().drain.start(t0)
	if _, got := s.get("/"); got != "ams1 draining 1 down, 1 of 1 probers, 1, fresh" {
		t.Errorf("got %q", got)
	}
	app, _ := active()
	for key, want := range map[string]any{"state": "unknown", "reason": "", "health": "", "acceptance": ""} {
		if v, ok := app.placeholder("edgehealth.node.nobody." + key); !ok || v != want {
			t.Errorf("%s of a node that is not there: %v, %v", key, v, ok)
		}
	}
	for _, key := range []string{"edgehealth.node.lon1", "edgehealth.node.lon1.colour", "edgehealth.self.", "edgehealth.x", "http.edgehealth.self.state"} {
		if v, ok := app.placeholder(key); ok {
			t.Errorf("%s has the value %v", key, v)
		}
	}
}
