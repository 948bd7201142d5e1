package cachemodel

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// event is an exchange with the origin server, or, with a status, an answer to
// a client.
type event struct {
	at     int // seconds
	step   int
	method string // GET by default
	fields []string

	// Of an exchange.
	said []string
	code int // 200 by default

	// Of an answer.
	got    []string
	status int
	body   string
}

// judge plays events. Exchanges have content "content N", N growing with every
// method that is not safe.
func judge(events ...event) error {
	m := &Model{StaleIfError: time.Hour, Slow: 10 * time.Second}
	version, asked := 1, make(map[int]Moment)
	for _, e := range events {
		now, method, code := t0.Add(time.Duration(e.at)*time.Second), e.method, e.code
		if method == "" {
			method = "GET"
		}
		if code == 0 {
			code = 200
		}
		if _, known := asked[e.step]; !known {
			asked[e.step] = m.Now(now)
		}
		if e.status != 0 {
			a := &Answer{Step: e.step, Method: method, Path: "/", Request: Header(e.fields), Asked: asked[e.step],
				Answered: m.Now(now), Ended: m.Now(now), Status: e.status, Header: Header(e.got), Body: e.body}
			m.Answered(a)
			continue
		}
		r := &http.Request{Method: method, URL: &url.URL{Path: "/"}, Header: Header(e.fields)}
		r.Header.Set(StepField, fmt.Sprint(e.step))
		x := m.Asked(r, now)
		if method != "GET" && method != "HEAD" {
			version++
		}
		x.Answered, x.Status, x.Header, x.Content = m.Now(now), code, Header(e.said), fmt.Sprint("content ", version)
		x.Told = m.Now(now)
		x.Header.Set("Date", now.Format(http.TimeFormat))
	}
	_, err := m.Check()
	return err
}

func TestModelTells(t *testing.T) {
	cc := func(s string) []string { return []string{"Cache-Control: " + s} }
	got := func(n int, more ...string) []string {
		return append([]string{fmt.Sprint(ExchangeField, ": ", n)}, more...)
	}
	first := "content 1"
	for name, tc := range map[string]struct {
		want   string // part of why not; empty if it is right
		events []event
	}{
		"a fresh hit": {"", []event{{said: cc("max-age=10")},
			{at: 9, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 9", "Cache-Status: c; hit; ttl=1"), status: 200, body: first}}},
		"a hit that is stale": {"nothing permits", []event{{said: cc("max-age=10")},
			{at: 10, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 10"), status: 200, body: first}}},
		"a wrong Age": {"Age", []event{{said: cc("max-age=10")},
			{at: 9, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 5"), status: 200, body: first}}},
		"a wrong ttl": {"ttl=5", []event{{said: cc("max-age=10")},
			{at: 9, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 9", "Cache-Status: c; hit; ttl=5"), status: 200, body: first}}},
		"an Age that was there already": {"stale by 4s", []event{{said: append(cc("max-age=10"), "Age: 5")},
			{at: 9, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 14"), status: 200, body: first}}},
		"stale while revalidating": {"", []event{{said: cc("max-age=10, stale-while-revalidate=5")},
			{at: 14, step: 1, got: got(1, "Cache-Control: max-age=10, stale-while-revalidate=5", "Age: 14"), status: 200, body: first}}},
		"stale, and to be validated": {"to be validated", []event{{said: cc("max-age=10, stale-while-revalidate=5, must-revalidate")},
			{at: 14, step: 1, got: got(1, "Cache-Control: max-age=10, stale-while-revalidate=5, must-revalidate", "Age: 14"), status: 200, body: first}}},
		"stale on an error": {"", []event{{said: cc("max-age=10")}, {at: 14, step: 1, code: 503, said: cc("no-store")},
			{at: 14, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 14"), status: 200, body: first}}},
		"somebody's own": {"", []event{{step: 3, at: 2, said: cc("private")}}},
		"private, to another": {"private", []event{{said: cc("private, max-age=10")},
			{at: 1, step: 1, got: got(1, "Cache-Control: private, max-age=10", "Age: 1"), status: 200, body: first}}},
		"no-store, to another": {"no-store", []event{{said: cc("no-store, max-age=10")},
			{at: 1, step: 1, got: got(1, "Cache-Control: no-store, max-age=10", "Age: 1"), status: 200, body: first}}},
		"credentials": {"credentials", []event{{said: cc("max-age=10"), fields: []string{"Authorization: x"}},
			{at: 1, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 1"), status: 200, body: first}}},
		"another variant": {"varies by X", []event{{said: append(cc("max-age=10"), "Vary: X"), fields: []string{"X: a"}},
			{at: 1, step: 1, fields: []string{"X: b"}, got: got(1, "Cache-Control: max-age=10", "Vary: X", "Age: 1"), status: 200, body: first}}},
		"the same variant": {"", []event{{said: append(cc("max-age=10"), "Vary: X"), fields: []string{"X: a"}},
			{at: 1, step: 1, fields: []string{"X: a"}, got: got(1, "Cache-Control: max-age=10", "Vary: X", "Age: 1"), status: 200, body: first}}},
		"another's cookie": {"for another client", []event{{said: append(cc("max-age=10"), "Set-Cookie: step=0")},
			{at: 1, step: 1, got: got(1, "Cache-Control: max-age=10", "Set-Cookie: step=0", "Age: 1"), status: 200, body: first}}},
		"after a POST": {"made it invalid", []event{{said: cc("max-age=10")}, {at: 1, step: 1, method: "POST"},
			{at: 1, step: 1, method: "POST", got: got(2), status: 200, body: "content 2"},
			{at: 2, step: 2, got: got(1, "Cache-Control: max-age=10", "Age: 2"), status: 200, body: first}}},
		"other content": {"content", []event{{said: cc("max-age=10")},
			{at: 1, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 1"), status: 200, body: "content 2"}}},
		"half of the content": {"content", []event{{said: cc("max-age=10")},
			{at: 1, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 1"), status: 200, body: "cont"}}},
		"a part": {"", []event{{said: cc("max-age=10")},
			{at: 1, step: 1, fields: []string{"Range: bytes=1-3"}, got: got(1, "Cache-Control: max-age=10", "Age: 1", "Content-Range: bytes 1-3/9"), status: 206, body: "ont"}}},
		"the wrong part": {"is not bytes 1-3/9", []event{{said: cc("max-age=10")},
			{at: 1, step: 1, fields: []string{"Range: bytes=1-3"}, got: got(1, "Cache-Control: max-age=10", "Age: 1", "Content-Range: bytes 1-3/9"), status: 206, body: "con"}}},
		"a part nobody wanted": {"without Range", []event{{said: cc("max-age=10")},
			{at: 1, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 1", "Content-Range: bytes 1-3/9"), status: 206, body: "ont"}}},
		"a 304 nobody wanted": {"304", []event{{said: cc("max-age=10")},
			{at: 1, step: 1, got: got(1, "Cache-Control: max-age=10", "Age: 1"), status: 304}}},
		"a 304 for another tag": {`"b"`, []event{{said: append(cc("max-age=10"), `Etag: "a"`)},
			{at: 1, step: 1, fields: []string{`If-None-Match: "b"`}, got: got(1, "Cache-Control: max-age=10", `Etag: "a"`, "Age: 1"), status: 304}}},
		"an error out of nowhere": {"was well", []event{{said: cc("max-age=10")}, {at: 1, step: 1, status: 502}}},
		"a directive nobody said": {"nobody said", []event{{said: cc("max-age=10")}, {at: 1, step: 1, code: 304},
			{at: 2, step: 2, got: got(2, "Cache-Control: max-age=99", "Age: 1"), status: 200, body: first}}},
		"a 304 that says something else": {"and the origin server said", []event{{said: cc("max-age=10")}, {at: 1, step: 1, code: 304, said: cc("no-store")},
			{at: 2, step: 2, got: got(2, "Cache-Control: max-age=10", "Age: 1"), status: 200, body: first}}},
		"no exchange": {"which there was not", []event{{at: 1, step: 1, got: got(7), status: 200, body: first}}},
	} {
		err := judge(tc.events...)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

// Shrinking keeps exactly what fails.
func TestShrink(t *testing.T) {
	data := make([]byte, 3000)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	steps := Steps(data)
	steps[17].Path, steps[40].Method = "/wanted", "BREW"
	if len(steps) != MaxSteps {
		t.Fatalf("%d steps", len(steps))
	}
	got := Shrink(steps, func(s []Step) bool {
		wanted := false
		for _, step := range s {
			wanted = wanted || step.Path == "/wanted"
			if wanted && step.Method == "BREW" {
				return true
			}
		}
		return false
	})
	if len(got) != 2 || got[0].Path != "/wanted" || got[1].Method != "BREW" || len(got[0].Fields)+len(got[0].Say.Fields) != 0 || got[0].Wait != 0 {
		t.Errorf("%v", got)
	}
}
