package edgecache

import (
	"fmt"
	"strings"
)

const (
	monday  = "Mon, 02 Feb 2026 10:00:00 GMT"
	tuesday = "Tue, 03 Feb 2026 10:00:00 GMT"
)

// conditionalBehaviours: conditions of clients, answered by the cache, and
// conditions the cache makes itself.
func conditionalBehaviours() (all []behaviour) {
	const inm, ims, validation = "RFC 9110 §13.1.2", "RFC 9110 §13.1.3", "RFC 9111 §4.3.1"
	answered := func(id, section string, l level, code int, stored []string, ask ...string) {
		say := append([]string{cacheControl, fresh}, stored...)
		all = append(all, behaviour{"cond-" + id, section, l, []step{{say: say}, {ask: ask, say: say, want: cache, code: code}}})
	}
	strong, weak, dated := []string{"Etag", `"abc"`}, []string{"Etag", `W/"abc"`}, []string{"Last-Modified", monday}
	both := append(append([]string{}, strong...), dated...)
	answered("tag", inm, should, 304, strong, "If-None-Match", `"abc"`)
	answered("tag-other", inm, must, 200, strong, "If-None-Match", `"def"`)
	answered("tag-case", inm, must, 200, strong, "If-None-Match", `"ABC"`)
	answered("tag-part", inm, must, 200, strong, "If-None-Match", `"ab"`)
	answered("tag-weak-of-strong", inm, must, 304, strong, "If-None-Match", `W/"abc"`)
	answered("tag-strong-of-weak", inm, must, 304, weak, "If-None-Match", `"abc"`)
	answered("tag-weak-of-weak", inm, must, 304, weak, "If-None-Match", `W/"abc"`)
	answered("tag-weak-other", inm, must, 200, weak, "If-None-Match", `W/"def"`)
	answered("tag-lower-w", inm, should, 200, strong, "If-None-Match", `w/"abc"`)
	answered("tag-list", inm, must, 304, strong, "If-None-Match", `"x", "abc", "y"`)
	answered("tag-list-weak", inm, must, 304, strong, "If-None-Match", `W/"x", W/"abc"`)
	answered("tag-list-none", inm, must, 200, strong, "If-None-Match", `"x", "y"`)
	answered("tag-list-no-spaces", inm, must, 304, strong, "If-None-Match", `"x","abc"`)
	answered("tag-list-comma-in-tag", inm, must, 200, strong, "If-None-Match", `"x,"abc"`)
	answered("tag-list-empty-members", inm, must, 304, strong, "If-None-Match", `,, "abc" ,`)
	answered("tag-lines", inm, must, 304, strong, "If-None-Match", `"x"`, "If-None-Match", `"abc"`)
	answered("tag-star", inm, must, 304, strong, "If-None-Match", "*")
	answered("tag-star-no-tag", inm, must, 304, nil, "If-None-Match", "*")
	answered("tag-of-none", inm, must, 200, nil, "If-None-Match", `"abc"`)
	answered("tag-unquoted", inm, should, 200, strong, "If-None-Match", "abc")
	answered("tag-unquoted-stored", inm, should, 200, []string{"Etag", "abc"}, "If-None-Match", `"abc"`)
	answered("tag-empty", inm, must, 304, []string{"Etag", `""`}, "If-None-Match", `""`)
	answered("tag-with-comma", inm, must, 304, []string{"Etag", `"a,c"`}, "If-None-Match", `"x", "a,c"`)
	answered("tag-with-backslash", inm, must, 304, []string{"Etag", `"a\c"`}, "If-None-Match", `"a\c"`)
	answered("tag-with-high-bytes", inm, must, 304, []string{"Etag", "\"\xe9\""}, "If-None-Match", "\"\xe9\"")
	answered("date", ims, should, 304, dated, "If-Modified-Since", monday)
	answered("date-later", ims, should, 304, dated, "If-Modified-Since", tuesday)
	answered("date-earlier", ims, must, 200, []string{"Last-Modified", tuesday}, "If-Modified-Since", monday)
	answered("date-future", ims, may, 304, dated, "If-Modified-Since", at(1000))
	answered("date-nonsense", ims, must, 200, dated, "If-Modified-Since", "monday")
	answered("date-rfc850", ims, must, 304, dated, "If-Modified-Since", "Monday, 02-Feb-26 10:00:00 GMT")
	answered("date-asctime", ims, must, 304, dated, "If-Modified-Since", "Mon Feb  2 10:00:00 2026")
	answered("date-of-none", ims, must, 200, nil, "If-Modified-Since", monday)
	answered("date-of-none-is-that-of-the-response", "RFC 9111 §4.3.2", should, 304, []string{"Date", date40}, "If-Modified-Since", date40)
	answered("date-of-none-no-date", "RFC 9111 §4.3.2", should, 304, []string{"Date", ""}, "If-Modified-Since", at(1000))
	answered("date-stored-nonsense", ims, must, 200, []string{"Last-Modified", "monday"}, "If-Modified-Since", tuesday)
	answered("date-twice", ims, should, 200, dated, "If-Modified-Since", monday, "If-Modified-Since", monday)
	answered("both-agree", ims, must, 304, both, "If-None-Match", `"abc"`, "If-Modified-Since", monday)
	answered("both-tag-decides-against", ims, must, 200, both, "If-None-Match", `"x"`, "If-Modified-Since", monday)
	answered("both-tag-decides-for", ims, must, 304, both, "If-None-Match", `"abc"`, "If-Modified-Since", "Sun, 01 Feb 2026 10:00:00 GMT")
	answered("both-tag-of-none", ims, must, 200, dated, "If-None-Match", `"x"`, "If-Modified-Since", monday)

	generates := func(id string, stored []string, asked ...string) {
		say := append([]string{cacheControl, fresh, "Age", "200"}, stored...)
		all = append(all, behaviour{"validate-" + id, validation, should, []step{{say: say}, {say: say, want: validated, asked: asked}}})
	}
	generates("strong", strong, "If-None-Match", `"abc"`, "If-Modified-Since", "")
	generates("weak", weak, "If-None-Match", `W/"abc"`)
	generates("date", dated, "If-Modified-Since", monday, "If-None-Match", "")
	generates("both", both, "If-None-Match", `"abc"`, "If-Modified-Since", monday)
	stale := append([]string{cacheControl, fresh, "Age", "200"}, strong...)
	return append(all,
		behaviour{"cond-304-fields", "RFC 9110 §15.4.5", must, []step{
			{say: []string{cacheControl, fresh, "Etag", `"abc"`, "Vary", "Foo", "Content-Location", "/x", "Expires", tuesday, "Date", date40}},
			{ask: []string{"If-None-Match", `"abc"`}, want: cache, code: 304, get: []string{cacheControl, fresh, "Etag", `"abc"`, "Vary", "Foo",
				"Content-Location", "/x", "Expires", tuesday, "Date", date40, "Age", "~40", "Content-Length", "", "Content-Type", ""}}}},
		behaviour{"cond-status", "RFC 9110 §13.2.1", must, []step{{status: 404, say: append(strong, cacheControl, fresh)}, {ask: []string{"If-None-Match", `"abc"`}, want: cache}}},
		behaviour{"cond-on-miss", "RFC 9111 §4.3.2", may, []step{{ask: []string{"If-None-Match", `"abc"`}, say: append(strong, cacheControl, fresh), code: 304, asked: []string{"If-None-Match", ""}}, {want: cache}}},
		behaviour{"cond-on-miss-fwd-status", "RFC 9211 §2.3", must, []step{{ask: []string{"If-None-Match", `"abc"`}, say: append(strong, cacheControl, fresh), code: 304,
			get: []string{"Cache-Status", "edgecache; fwd=uri-miss; fwd-status=200; stored"}}}},
		behaviour{"cond-on-miss-other", "RFC 9111 §4.3.2", must, []step{{ask: []string{"If-None-Match", `"x"`}, say: append(strong, cacheControl, fresh)}, {want: cache}}},
		behaviour{"cond-304-does-not-reach-others", "RFC 9111 §4.3.3", must, []step{{ask: []string{"If-None-Match", `"abc"`}, say: append(strong, cacheControl, fresh), code: 304}, {want: cache}, {want: cache}}},
		behaviour{"cond-if-match-goes-on", "RFC 9111 §4.3.2", must, []step{{say: append(strong, cacheControl, fresh)}, {ask: []string{"If-Match", `"abc"`}, asked: []string{"If-Match", `"abc"`}}}},
		behaviour{"cond-if-unmodified-since-goes-on", "RFC 9111 §4.3.2", must, []step{{say: append(dated, cacheControl, fresh)}, {ask: []string{"If-Unmodified-Since", monday}, asked: []string{"If-Unmodified-Since", monday}}}},
		behaviour{"validate-then-fresh", "RFC 9111 §4.3.4", should, []step{{say: stale}, {want: validated, say: append(strong, cacheControl, fresh)}, {want: cache}}},
		behaviour{"validate-then-changed", "RFC 9111 §4.3.3", must, []step{{say: stale}, {say: []string{cacheControl, fresh, "Etag", `"new"`}}, {want: cache, of: 2}}},
		behaviour{"validate-then-error", "RFC 9111 §4.3.3", may, []step{{say: append(stale, cacheControl, fresh+", stale-if-error=0")}, {status: 404}}},
		behaviour{"validate-for-conditional-client", "RFC 9111 §4.3.2", must, []step{{say: stale}, {ask: []string{"If-None-Match", `"abc"`}, want: validated, code: 304, say: append(strong, cacheControl, fresh)}}},
		behaviour{"validate-for-another-condition", "RFC 9111 §4.3.2", must, []step{{say: stale}, {ask: []string{"If-None-Match", `"old"`}, want: validated, say: append(strong, cacheControl, fresh), asked: []string{"If-None-Match", `"abc"`}}}},
		behaviour{"validate-age-restarts", "RFC 9111 §4.3.4", must, []step{{say: stale}, {want: validated, say: append(strong, cacheControl, fresh)}, {want: cache, get: []string{"Age", "~0"}}}},
		behaviour{"validate-age-of-304", "RFC 9111 §4.3.4", must, []step{{say: stale}, {want: validated, say: append(strong, cacheControl, fresh, "Age", "30")}, {want: cache, get: []string{"Age", "~30"}}}},
		behaviour{"validate-date-of-304", "RFC 9111 §4.3.4", must, []step{{say: append(stale, "Date", at(-200))}, {want: validated, say: append(strong, cacheControl, fresh, "Date", date40)}, {want: cache, get: []string{"Date", date40}}}},
		behaviour{"no-validator-is-fetched", validation, must, []step{{say: []string{cacheControl, fresh, "Age", "200"}}, {say: []string{cacheControl, fresh}, asked: []string{"If-None-Match", "", "If-Modified-Since", ""}}, {want: cache, of: 2}}},
	)
}

// updateBehaviours: what a 304, or the response to a HEAD, does to what is
// stored.
func updateBehaviours() (all []behaviour) {
	const section, head = "RFC 9111 §3.2", "RFC 9111 §4.3.5"
	stale := []string{cacheControl, fresh, "Age", "200", "Etag", `"abc"`}
	with := func(base []string, more ...string) []string { return append(append([]string{}, base...), more...) }
	renewed := []string{cacheControl, fresh, "Etag", `"abc"`}
	for _, name := range []string{"X-Test", "Test-Header", "Content-Foo", "X-Content-Foo", "Content-Location", "Content-Md5", "Content-Language",
		"Content-Security-Policy", "Content-Disposition", "Clear-Site-Data", "Expires", "Link", "Public-Key-Pins", "Server-Timing",
		"Strict-Transport-Security", "X-Frame-Options", "X-Xss-Protection", "Last-Modified", "Access-Control-Allow-Origin"} {
		first, second := "first", "second"
		switch name {
		case "Expires", "Last-Modified":
			first, second = monday, tuesday
		}
		all = append(all, behaviour{"update-" + strings.ToLower(name), section, must, []step{
			{say: with(stale, name, first)},
			{want: validated, say: with(renewed, name, second), get: []string{name, second}},
			{want: cache, get: []string{name, second}}}})
	}
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Range"} {
		first, second := "", "17"
		if name == "Content-Encoding" {
			first, second = "x-one", "x-two"
		}
		say := stale
		if first != "" {
			say = with(stale, name, first)
		}
		want := []string{name, first}
		if name == "Content-Length" {
			want = nil // the content itself tells
		}
		all = append(all, behaviour{"update-not-" + strings.ToLower(name), section, must, []step{
			{say: say}, {want: validated, say: with(renewed, name, second), get: want}, {want: cache, get: want}}})
	}
	identified := func(id string, l level, want outcome, stored, response []string) {
		steps := []step{{say: with([]string{cacheControl, fresh, "Age", "200"}, stored...)}, {want: validated, say: with([]string{cacheControl, fresh, "X-New", "1"}, response...)}}
		if want == validated {
			steps = append(steps, step{want: cache, get: []string{"X-New", "1"}})
		}
		all = append(all, behaviour{"identify-" + id, "RFC 9111 §4.3.4", l, steps})
	}
	identified("strong", must, validated, []string{"Etag", `"abc"`}, []string{"Etag", `"abc"`})
	identified("weak", must, validated, []string{"Etag", `W/"abc"`}, []string{"Etag", `W/"abc"`})
	identified("weak-of-strong", should, validated, []string{"Etag", `"abc"`}, []string{"Etag", `W/"abc"`})
	identified("none", may, validated, []string{"Etag", `"abc"`}, nil)
	identified("date", must, validated, []string{"Last-Modified", monday}, []string{"Last-Modified", monday})
	identified("date-none", may, validated, []string{"Last-Modified", monday}, nil)
	for id, c := range map[string]struct{ stored, response []string }{
		"other-strong":         {[]string{"Etag", `"abc"`}, []string{"Etag", `"x"`}},
		"other-weak":           {[]string{"Etag", `W/"abc"`}, []string{"Etag", `W/"x"`}},
		"other-date":           {[]string{"Last-Modified", monday}, []string{"Last-Modified", tuesday}},
		"other-date-and-tag":   {[]string{"Etag", `"abc"`, "Last-Modified", monday}, []string{"Last-Modified", tuesday}},
		"tag-for-a-date":       {[]string{"Last-Modified", monday}, []string{"Etag", `"x"`}},
		"tag-and-another-date": {[]string{"Last-Modified", monday}, []string{"Etag", `"x"`, "Last-Modified", tuesday}},
	} {
		all = append(all, behaviour{"identify-not-" + id, "RFC 9111 §4.3.4", must, []step{
			{say: with([]string{cacheControl, fresh, "Age", "200"}, c.stored...)},
			{want: mismatched, say: with([]string{cacheControl, fresh}, c.response...)}, {want: cache, of: 2}}})
	}

	stored := []string{cacheControl, fresh, "Age", "200", "Etag", `"abc"`, "Last-Modified", monday}
	for _, c := range []struct {
		id   string
		say  []string
		want outcome // of the GET after it
		safe outcome // the same with the safe preset, if it differs
		get  []string
	}{
		{"same", []string{cacheControl, fresh, "Etag", `"abc"`, "Last-Modified", monday, "X-New", "1"}, cache, unset, []string{"X-New", "1"}},
		{"other-tag", []string{cacheControl, fresh, "Etag", `"x"`}, origin, unset, nil},
		{"other-date", []string{cacheControl, fresh, "Last-Modified", tuesday}, origin, unset, nil},
		{"other-length", []string{cacheControl, fresh, "Etag", `"abc"`, "Content-Length", "1"}, origin, unset, nil},
		{"says-nothing", []string{cacheControl, fresh, "Content-Length", "", "X-New", "1"}, cache, validated, nil},
		{"same-length-alone", []string{cacheControl, fresh, "X-New", "1"}, cache, validated, nil},
		{"other-length-alone", []string{cacheControl, fresh, "Content-Length", "1"}, origin, unset, nil},
		{"error", nil, validated, unset, nil},
	} {
		asked := step{method: "HEAD", say: c.say}
		if c.id == "error" {
			asked.status, asked.want = 500, stood
		}
		all = append(all, behaviour{"head-" + c.id, head, should, []step{{say: stored}, asked, {want: c.want, safe: c.safe, say: stored, get: c.get}}})
	}
	return append(all,
		behaviour{"update-drops-no-store", "RFC 9111 §3", must, []step{{say: stale}, {want: origin, status: 200, say: []string{cacheControl, "no-store", "Etag", `"abc"`}}, {}}},
		behaviour{"head-from-get", "RFC 9111 §4.3.5", should, []step{{say: []string{cacheControl, fresh}, body: "12345"}, {method: "HEAD", want: cache, get: []string{"Content-Length", "5", "Age", "~0"}}}},
		behaviour{"head-miss-stays-head", "RFC 9110 §9.3.2", should, []step{{method: "HEAD", say: []string{cacheControl, fresh}}, {say: []string{cacheControl, fresh}}, {want: cache, of: 2}, {method: "HEAD", want: cache}}},
		behaviour{"head-conditional", "RFC 9111 §4.3.2", should, []step{{say: []string{cacheControl, fresh, "Etag", `"abc"`}}, {method: "HEAD", ask: []string{"If-None-Match", `"abc"`}, want: cache, code: 304}}},
	)
}

// invalidationBehaviours: what an unsafe method does to what is stored.
func invalidationBehaviours() (all []behaviour) {
	const section = "RFC 9111 §4.4"
	say := []string{cacheControl, fresh}
	unsafeMethod := func(id, method string, l level, status int, want outcome) {
		all = append(all, behaviour{"inval-" + id, section, l, []step{{say: say}, {method: method, status: status}, {want: want, say: say}}})
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "MOVE", "FROBNICATE"} {
		for _, status := range []int{200, 201, 204, 303, 307} {
			unsafeMethod(fmt.Sprint(strings.ToLower(method), "-", status), method, must, status, origin)
		}
		for _, status := range []int{400, 404, 409, 500, 503} {
			unsafeMethod(fmt.Sprint(strings.ToLower(method), "-", status), method, should, status, cache)
		}
	}
	for _, method := range []string{"OPTIONS", "PROPFIND", "REPORT", "SEARCH", "QUERY", "HEAD"} {
		unsafeMethod("not-by-"+strings.ToLower(method), method, should, 200, cache)
	}
	all[len(all)-1].steps[1].want = cache // HEAD is answered from what is stored
	for _, field := range []string{"Location", "Content-Location"} {
		name := strings.ToLower(field)
		elsewhere := func(id, value string, l level, want outcome) {
			all = append(all, behaviour{"inval-" + name + "-" + id, section, l, []step{
				{target: "/other", say: say}, {method: "POST", target: "/form", status: 201, say: []string{field, value}}, {target: "/other", want: want, say: say}}})
		}
		id := "inval-" + name + "-"
		elsewhere("path", "/"+id+"path/other", should, origin)
		elsewhere("relative", "other", should, origin)
		elsewhere("other-host", "http://other.example/"+id+"other-host/other", must, cache)
		elsewhere("other-host-no-scheme", "//other.example/"+id+"other-host-no-scheme/other", must, cache)
		elsewhere("other-scheme", "https://127.0.0.1/"+id+"other-scheme/other", must, cache)
		elsewhere("nonsense", "http://%zz/", should, cache)
		all = append(all, behaviour{id + "of-error", section, should, []step{
			{target: "/other", say: say}, {method: "POST", target: "/form", status: 400, say: []string{field, "other"}}, {target: "/other", want: cache}}})
	}
	return append(all,
		behaviour{"inval-all-variants", section, must, []step{
			{ask: []string{"Foo", "1"}, say: append(say, "Vary", "Foo")}, {ask: []string{"Foo", "2"}, say: append(say, "Vary", "Foo")}, {method: "POST"},
			{ask: []string{"Foo", "1"}, say: append(say, "Vary", "Foo")}, {ask: []string{"Foo", "2"}, say: append(say, "Vary", "Foo")}}},
		behaviour{"inval-not-other-query", section, may, []step{{target: "?a", say: say}, {method: "POST", target: "?b"}, {target: "?a", want: cache}}},
		behaviour{"post-is-not-stored", "RFC 9110 §9.3.3", may, []step{{method: "POST", say: say}, {method: "POST", say: say}, {say: say}}},
		behaviour{"post-is-not-answered", "RFC 9111 §4", must, []step{{say: say}, {method: "POST", say: say}}},
		behaviour{"put-is-not-stored", "RFC 9110 §9.3.4", must, []step{{method: "PUT", say: say}, {say: say}}},
		behaviour{"options-is-not-stored", "RFC 9110 §9.3.7", must, []step{{method: "OPTIONS", say: say}, {method: "OPTIONS", say: say}, {say: say}}},
		behaviour{"query-is-not-stored", "RFC 9111 §3", may, []step{{method: "QUERY", say: say}, {method: "QUERY", say: say}, {say: say}}},
		behaviour{"unknown-method-is-not-stored", "RFC 9111 §3", must, []step{{method: "FROBNICATE", say: say}, {method: "FROBNICATE", say: say}}},
	)
}
