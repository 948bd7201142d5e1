package edgecache

import (
	"fmt"
	"slices"
	"strings"
)

const listSyntax = "RFC 9111 §5.2"

// directiveBehaviours: what Cache-Control of a response means.
func directiveBehaviours() []behaviour {
	const noStore, private, noCache = "RFC 9111 §5.2.2.5", "RFC 9111 §5.2.2.7", "RFC 9111 §5.2.2.4"
	cc := func(v string) []string { return []string{cacheControl, v} }
	tag := []string{"Etag", `"a"`}
	validatedAgain := func(id, section string, l level, say ...string) behaviour {
		return behaviour{id, section, l, []step{{say: say}, {want: validated, say: say}, {want: validated, say: say}}}
	}
	return []behaviour{
		noReuse("no-store", noStore, must, cc("no-store")...),
		noReuse("no-store-and-max-age", noStore, must, cc("no-store, max-age=100")...),
		noReuse("no-store-behind-max-age", noStore, must, cc("max-age=100, no-store")...),
		noReuse("no-store-upper-case", noStore, must, cc("max-age=100, NO-STORE")...),
		noReuse("no-store-line-of-its-own", noStore, must, cacheControl, fresh, cacheControl, "no-store"),
		noReuse("no-store-first-line", noStore, must, cacheControl, "no-store", cacheControl, fresh),
		noReuse("no-store-and-expires", noStore, must, cacheControl, "no-store", "Expires", at(100)),
		noReuse("no-store-and-tag", noStore, must, append(tag, cacheControl, "max-age=100, no-store")...),
		noReuse("no-store-argument", noStore, should, cc(`max-age=100, no-store="x"`)...),
		noReuse("no-store-no-space", noStore, must, cc("max-age=100,no-store")...),
		noReuse("private", private, must, cc("private, max-age=100")...),
		noReuse("private-mixed-case", private, must, cc("PriVate, max-age=100")...),
		noReuse("private-and-s-maxage", private, must, cc("private, s-maxage=100")...),
		noReuse("private-and-public", private, must, cc("public, private, max-age=100")...),
		noReuse("private-and-expires", private, must, cacheControl, "private", "Expires", at(100)),
		{"private-field", private, must, []step{
			{say: []string{cacheControl, `max-age=100, private="X-User"`, "X-User", "bob", "X-Other", "1"}, get: []string{"X-User", "bob", "X-Other", "1"}},
			{want: cache, get: []string{"X-User", "", "X-Other", "1"}}}},
		{"private-fields", private, must, []step{
			{say: []string{cacheControl, `max-age=100, private="x-user, X-Token"`, "X-User", "bob", "X-Token", "t", "X-Other", "1"}},
			{want: cache, get: []string{"X-User", "", "X-Token", "", "X-Other", "1"}}}},
		noReuse("private-no-field", private, should, cc(`max-age=100, private=""`)...),
		validatedAgain("no-cache", noCache, must, append(tag, cacheControl, "no-cache")...),
		validatedAgain("no-cache-and-max-age", noCache, must, append(tag, cacheControl, "no-cache, max-age=100")...),
		validatedAgain("no-cache-and-s-maxage", noCache, must, append(tag, cacheControl, "no-cache, s-maxage=100")...),
		validatedAgain("no-cache-and-expires", noCache, must, append(tag, cacheControl, "no-cache", "Expires", at(100))...),
		validatedAgain("no-cache-case", noCache, must, append(tag, cacheControl, "No-CACHE, max-age=100")...),
		validatedAgain("no-cache-modified", noCache, must, "Last-Modified", at(-1000), cacheControl, "no-cache, max-age=100"),
		noReuse("no-cache-no-validator", noCache, must, cc("no-cache, max-age=100")...),
		{"no-cache-field", noCache, must, []step{
			{say: []string{cacheControl, `max-age=100, no-cache="X-User"`, "X-User", "bob", "X-Other", "1"}, get: []string{"X-User", "bob"}},
			{want: cache, get: []string{"X-User", "", "X-Other", "1"}}}},
		{"no-cache-field-of-304", noCache, must, []step{ // validated just now, for this client
			{say: []string{cacheControl, `max-age=100, no-cache="X-User"`, "Age", "150", "Etag", `"a"`, "X-User", "bob"}},
			{want: validated, say: []string{"Etag", `"a"`, "X-User", "eve"}, get: []string{"X-User", "eve"}},
			{want: cache, get: []string{"X-User", ""}}}},
		reuse("must-revalidate-fresh", "RFC 9111 §5.2.2.2", should, cc("max-age=100, must-revalidate")...),
		reuse("proxy-revalidate-fresh", "RFC 9111 §5.2.2.8", should, cc("max-age=100, proxy-revalidate")...),
		reuse("public", "RFC 9111 §5.2.2.9", should, cc("public, max-age=100")...),
		noReuse("public-alone", "RFC 9111 §5.2.2.9", should, cc("public")...),
		reuse("no-transform", "RFC 9111 §5.2.2.6", should, cc("no-transform, max-age=100")...),
		reuse("immutable", "RFC 8246 §2", should, cc("max-age=100, immutable")...),
		noReuse("immutable-alone", "RFC 8246 §2", must, cc("immutable")...),
		noReuse("immutable-stale", "RFC 8246 §2", must, cacheControl, "max-age=100, immutable", "Age", "200"),
		reuse("must-understand-known", "RFC 9111 §5.2.2.3", should, cc("max-age=100, must-understand")...),
		reuse("must-understand-over-no-store", "RFC 9111 §5.2.2.3", should, cc("max-age=100, must-understand, no-store")...),
		{"must-understand-unknown", "RFC 9111 §5.2.2.3", must, []step{{status: 299, say: cc("max-age=100, must-understand")}, {status: 299, say: cc("max-age=100, must-understand")}}},
		{"must-understand-unknown-no-store", "RFC 9111 §5.2.2.3", must, []step{{status: 599, say: cc("max-age=100, must-understand, no-store")}, {status: 599}}},

		reuse("cc-upper-case", listSyntax, must, cc("MAX-AGE=100")...),
		reuse("cc-mixed-case", listSyntax, must, cc("Max-aGe=100")...),
		reuse("cc-quoted", listSyntax, should, cc(`max-age="100"`)...),
		noReuse("cc-quoted-zero", listSyntax, must, cc(`max-age="0"`)...),
		noReuse("cc-single-quotes", deltaSeconds, should, cc("max-age='100'")...),
		noReuse("cc-half-quoted", deltaSeconds, should, cc(`max-age="100`)...),
		noReuse("cc-space-before-equals", listSyntax, should, cc("max-age =100")...),
		noReuse("cc-space-after-equals", listSyntax, should, cc("max-age= 100")...),
		reuse("cc-unknown-before", "RFC 9111 §5.2.3", must, cc("foo, max-age=100")...),
		reuse("cc-unknown-behind", "RFC 9111 §5.2.3", must, cc("max-age=100, foo")...),
		reuse("cc-unknown-argument", "RFC 9111 §5.2.3", must, cc("max-age=100, foo=bar")...),
		reuse("cc-unknown-quoted", "RFC 9111 §5.2.3", must, cc(`foo="bar, baz", max-age=100`)...),
		noReuse("cc-directive-in-quotes", "RFC 9110 §5.6.4", must, cc(`foo="max-age=100"`)...),
		noReuse("cc-directive-in-quotes-list", "RFC 9110 §5.6.4", must, cc(`foo="bar, max-age=100", max-age=0`)...),
		reuse("cc-prohibition-in-quotes", "RFC 9110 §5.6.4", should, cc(`foo="bar, no-store, max-age=0", max-age=100`)...),
		reuse("cc-escaped-quote", "RFC 9110 §5.6.4", should, cc(`foo="bar\", no-store", max-age=100`)...),
		noReuse("cc-escaped-quote-then-real", "RFC 9110 §5.6.4", must, cc(`foo="bar\"", no-store, max-age=100`)...),
		reuse("cc-empty-members", "RFC 9110 §5.6.1", must, cc(", ,, max-age=100,,")...),
		reuse("cc-tabs", "RFC 9110 §5.6.3", must, cc("foo\t,\tmax-age=100")...),
		reuse("cc-no-spaces", listSyntax, must, cc("public,max-age=100,foo")...),
		reuse("cc-two-lines", "RFC 9110 §5.3", must, cacheControl, "public", cacheControl, fresh),
		reuse("cc-long", listSyntax, should, cc(strings.Repeat("foo=bar, ", 200)+"max-age=100")...),
		reuse("cc-first-of-two", lifetimes, may, cc("max-age=100, max-age=0")...),
		noReuse("cc-first-of-two-stale", lifetimes, should, cc("max-age=0, max-age=100")...),
		reuse("cc-first-of-two-lines", lifetimes, may, cacheControl, fresh, cacheControl, "max-age=0"),
		noReuse("cc-first-of-two-lines-stale", lifetimes, should, cacheControl, "max-age=0", cacheControl, fresh),
		noReuse("cc-not-a-prefix", listSyntax, must, cc("xmax-age=100")...),
		noReuse("cc-not-a-suffix", listSyntax, must, cc("max-agex=100")...),
		reuse("cc-no-store-as-part", listSyntax, should, cc("no-storefront, max-age=100")...),
		reuse("cc-private-as-part", listSyntax, should, cc("privately, max-age=100")...),
		reuse("response-pragma", "RFC 9111 §5.4", should, cacheControl, fresh, "Pragma", "no-cache"),
		reuse("response-warning", "RFC 9111 §5.5", should, cacheControl, fresh, "Warning", `110 - "stale"`),
		reuse("response-surrogate-control", "RFC 9213 §2.2", may, cacheControl, fresh, "Surrogate-Control", "no-store"),
		{"pragma-is-no-lifetime", "RFC 9111 §5.4", should, []step{{say: []string{"Pragma", "cache"}}, {}}},
	}
}

// blamed are statuses that say something about the form of the request.
var blamed = []int{400, 406, 413, 414, 415, 417, 421, 425, 426}

// never are statuses that no cache may store.
var never = []int{428, 429, 431, 511}

// statusBehaviours: what may be stored by status, and what may be guessed.
func statusBehaviours() (all []behaviour) {
	every := []int{200, 201, 202, 203, 204, 226, 299, 300, 301, 302, 303, 305, 307, 308, 399,
		400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 413, 414, 415, 417, 418, 421, 422, 425, 451, 499,
		500, 501, 502, 503, 504, 505, 507, 599}
	guessed := []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}
	modified := []string{"Last-Modified", at(-10 * 24 * 3600)}
	for _, status := range every {
		say := []string{cacheControl, fresh}
		if status >= 300 && status < 400 {
			say = append(say, "Location", "/elsewhere")
		}
		safe := cache
		if slices.Contains(blamed, status) {
			safe = origin
		}
		heuristic := origin
		if slices.Contains(guessed, status) {
			heuristic = cache
		}
		all = append(all,
			behaviour{fmt.Sprint("status-", status, "-fresh"), "RFC 9111 §3", should,
				[]step{{status: status, say: say}, {status: status, say: say, want: cache, safe: safe}}},
			behaviour{fmt.Sprint("status-", status, "-no-store"), "RFC 9111 §3", must,
				[]step{{status: status, say: []string{cacheControl, "max-age=100, no-store"}}, {status: status}}},
			behaviour{fmt.Sprint("status-", status, "-stale"), "RFC 9111 §4.2", must,
				[]step{{status: status, say: []string{cacheControl, fresh + ", stale-if-error=0", "Age", "200"}}, {status: status, want: origin}}},
			behaviour{fmt.Sprint("status-", status, "-heuristic"), "RFC 9111 §4.2.2", map[bool]level{true: should, false: must}[heuristic == cache],
				[]step{{status: status, say: modified}, {status: status, say: modified, want: heuristic, safe: origin}}},
		)
	}
	for _, status := range []int{500, 502, 503, 504} { // an old error is no better than a new one
		all = append(all, noReuseStatus(fmt.Sprint("status-", status, "-stale-silent"), "RFC 5861 §4", should, status, cacheControl, fresh, "Age", "200"))
	}
	for _, status := range never {
		all = append(all, noReuseStatus(fmt.Sprint("status-", status, "-never"), "RFC 6585 §3 to §6", must, status, cacheControl, fresh))
	}
	return append(all,
		noReuseStatus("must-understand-226", "RFC 9111 §5.2.2.3", must, 226, cacheControl, fresh+", must-understand"),
		behaviour{"public-tag-is-validated", "RFC 9111 §3", may, []step{{status: 403, say: []string{"Etag", `"a"`, cacheControl, "public"}}, {status: 403, want: validated, safe: origin, say: []string{"Etag", `"a"`, cacheControl, "public"}}}},
		noReuseStatus("status-206-unsolicited", "RFC 9111 §3.3", must, 206, cacheControl, fresh, "Content-Range", "bytes 0-3/100"),
		noReuseStatus("status-304-unsolicited", "RFC 9111 §4.3.3", must, 304, cacheControl, fresh),
		behaviour{"heuristic-public-403", "RFC 9111 §4.2.2", may, []step{{status: 403, say: append(modified, cacheControl, "public")}, {status: 403, want: cache, safe: origin}}},
		behaviour{"heuristic-recent", "RFC 9111 §4.2.2", should, []step{{say: []string{"Last-Modified", at(-1), "Date", at(0)}}, {say: []string{"Last-Modified", at(-1)}, want: validated, safe: origin}}},
		noReuse("heuristic-no-last-modified", "RFC 9111 §4.2.2", should, "Date", at(0)),
		noReuse("heuristic-not-beside-max-age", "RFC 9111 §4.2.2", must, append(modified, cacheControl, "max-age=0")[2:]...),
		behaviour{"heuristic-future", "RFC 9111 §4.2.2", should, []step{{say: []string{"Last-Modified", at(1000)}}, {want: validated, safe: origin, say: []string{"Last-Modified", at(1000)}}}},
		behaviour{"heuristic-tag-is-validated", "RFC 9111 §4.3", should, []step{{say: []string{"Etag", `"a"`}}, {want: validated, safe: origin, say: []string{"Etag", `"a"`}}}},
		behaviour{"heuristic-age", "RFC 9111 §4.2.2", must, []step{{say: append(modified, "Age", "90000")}, {want: validated, safe: origin}}},
	)
}

func noReuseStatus(id, section string, l level, status int, say ...string) behaviour {
	return behaviour{id, section, l, []step{{status: status, say: say}, {status: status, say: say}}}
}

// varyBehaviours: which stored response a request selects.
func varyBehaviours() []behaviour {
	const section = "RFC 9111 §4.1"
	say := func(v ...string) []string {
		fields := []string{cacheControl, fresh}
		for _, line := range v {
			fields = append(fields, "Vary", line)
		}
		return fields
	}
	pair := func(id string, l level, vary string, first, second []string, want outcome) behaviour {
		return behaviour{id, section, l, []step{{ask: first, say: say(vary)}, {ask: second, say: say(vary), want: want}}}
	}
	f := func(v ...string) []string { return v }
	return []behaviour{
		pair("vary-same", should, "Foo", f("Foo", "1"), f("Foo", "1"), cache),
		pair("vary-other", must, "Foo", f("Foo", "1"), f("Foo", "2"), origin),
		pair("vary-then-absent", must, "Foo", f("Foo", "1"), nil, origin),
		pair("vary-absent-then", must, "Foo", nil, f("Foo", "1"), origin),
		pair("vary-absent-both", should, "Foo", nil, nil, cache),
		pair("vary-empty-is-not-absent", must, "Foo", nil, f("Foo", ""), origin),
		pair("vary-name-case", must, "fOO", f("Foo", "1"), f("Foo", "2"), origin),
		pair("vary-value-case", must, "Foo", f("Foo", "a"), f("Foo", "A"), origin),
		pair("vary-not-that-field", should, "Foo", f("Foo", "1", "Bar", "1"), f("Foo", "1", "Bar", "2"), cache),
		pair("vary-two-same", should, "Foo, Bar", f("Foo", "1", "Bar", "1"), f("Foo", "1", "Bar", "1"), cache),
		pair("vary-two-first-differs", must, "Foo, Bar", f("Foo", "1", "Bar", "1"), f("Foo", "2", "Bar", "1"), origin),
		pair("vary-two-second-differs", must, "Foo, Bar", f("Foo", "1", "Bar", "1"), f("Foo", "1", "Bar", "2"), origin),
		pair("vary-two-second-absent", must, "Foo, Bar", f("Foo", "1", "Bar", "1"), f("Foo", "1"), origin),
		pair("vary-two-both-absent", should, "Foo, Bar", nil, nil, cache),
		pair("vary-values-swapped", must, "Foo, Bar", f("Foo", "1", "Bar", "2"), f("Foo", "2", "Bar", "1"), origin),
		pair("vary-lines-joined", should, "Foo", f("Foo", "1", "Foo", "2"), f("Foo", "1, 2"), cache),
		pair("vary-lines-order", must, "Foo", f("Foo", "1", "Foo", "2"), f("Foo", "2", "Foo", "1"), origin),
		pair("vary-space-around-commas", should, "Foo", f("Foo", "1,2"), f("Foo", "1 ,\t2"), cache),
		pair("vary-space-inside", must, "Foo", f("Foo", "1 2"), f("Foo", "12"), origin),
		pair("vary-quoted-space", must, "Foo", f("Foo", `"1,2"`), f("Foo", `"1, 2"`), origin),
		pair("vary-empty-members", must, ", Foo,,", f("Foo", "1"), f("Foo", "2"), origin),
		pair("vary-empty-members-same", should, ", Foo,,", f("Foo", "1"), f("Foo", "1"), cache),
		pair("vary-empty", should, " ", f("Foo", "1"), f("Foo", "2"), cache),
		pair("vary-star", must, "*", nil, nil, origin),
		pair("vary-star-first", must, "*, Foo", f("Foo", "1"), f("Foo", "1"), origin),
		pair("vary-star-last", must, "Foo, *", f("Foo", "1"), f("Foo", "1"), origin),
		pair("vary-star-empty-members", must, ", *,", nil, nil, origin),
		pair("vary-twice-the-same-name", should, "Foo, foo", f("Foo", "1"), f("Foo", "1"), cache),
		pair("vary-accept-encoding", must, "Accept-Encoding", f("Accept-Encoding", "gzip"), f("Accept-Encoding", "br"), origin),
		pair("vary-accept-encoding-order", may, "Accept-Encoding", f("Accept-Encoding", "gzip, br"), f("Accept-Encoding", "br, gzip"), cache),
		pair("vary-accept-encoding-refused", must, "Accept-Encoding", f("Accept-Encoding", "gzip"), f("Accept-Encoding", "gzip;q=0"), origin),
		pair("vary-accept-language", must, "Accept-Language", f("Accept-Language", "en"), f("Accept-Language", "de"), origin),
		pair("vary-accept-language-case", should, "Accept-Language", f("Accept-Language", "en-GB, DE"), f("Accept-Language", "EN-gb,de"), cache),
		pair("vary-accept-language-space", should, "Accept-Language", f("Accept-Language", "en-GB,de;q=0.5"), f("Accept-Language", "en-gb , de ; q=0.5"), cache),
		pair("vary-accept-language-weight-order", should, "Accept-Language", f("Accept-Language", "en, de;q=0.5"), f("Accept-Language", "de;q=0.50, en;q=1.0"), cache),
		pair("vary-accept-language-weight", must, "Accept-Language", f("Accept-Language", "en, de;q=0.5"), f("Accept-Language", "en;q=0.5, de"), origin),
		{"vary-accept-language-order", section, may, []step{{ask: f("Accept-Language", "en, de"), say: say("Accept-Language")},
			{ask: f("Accept-Language", "de, en"), say: say("Accept-Language"), want: cache, safe: origin}}},
		pair("vary-cookie", must, "Cookie", f("Cookie", "a=1"), f("Cookie", "a=2"), origin),
		pair("vary-cookie-same", should, "Cookie", f("Cookie", "a=1"), f("Cookie", "a=1"), cache),
		pair("vary-user-agent", must, "User-Agent", f("User-Agent", "a"), f("User-Agent", "b"), origin),
		pair("vary-origin", must, "Origin", f("Origin", "http://a.example"), f("Origin", "http://b.example"), origin),
		{"vary-lines", section, must, []step{
			{ask: f("Foo", "1", "Bar", "1"), say: say("Foo", "Bar")}, {ask: f("Foo", "1", "Bar", "2"), say: say("Foo", "Bar")},
			{ask: f("Foo", "1", "Bar", "1"), want: cache}}},
		{"vary-star-in-second-line", section, must, []step{{say: say("Foo", "*")}, {say: say("Foo", "*")}}},
		{"vary-variants-live-together", section, should, []step{
			{ask: f("Foo", "1"), say: say("Foo")}, {ask: f("Foo", "2"), say: say("Foo")}, {ask: f("Foo", "3"), say: say("Foo")},
			{ask: f("Foo", "1"), want: cache, of: 1}, {ask: f("Foo", "2"), want: cache, of: 2}, {ask: f("Foo", "3"), want: cache, of: 3}}},
		{"vary-added-later", section, must, []step{
			{ask: f("Foo", "1"), say: []string{cacheControl, "max-age=100", "Age", "200"}}, {ask: f("Foo", "1"), say: say("Foo")}, {ask: f("Foo", "2"), say: say("Foo")},
			{ask: f("Foo", "1"), want: cache, of: 2}}},
		{"vary-most-recent", "RFC 9111 §4", should, []step{
			{ask: f("Foo", "1"), say: say("Foo")}, {ask: f("Foo", "2", "Bar", "1"), say: say("Bar")}, {ask: f("Foo", "1", "Bar", "1"), want: cache, of: 2}}},
		{"vary-most-recent-by-date", "RFC 9111 §4", must, []step{
			{ask: f("Foo", "1", "Bar", "1"), say: append(say("Foo"), "Date", at(-10))}, {ask: f("Foo", "2", "Bar", "1"), say: append(say("Bar"), "Date", at(-60))},
			{ask: f("Foo", "1", "Bar", "1"), want: cache, of: 1}, {ask: f("Foo", "3", "Bar", "1"), want: cache, of: 2}}},
		{"vary-missing-from-the-most-recent", section, should, []step{
			{ask: f("Foo", "1"), say: say("Foo")}, {ask: f("Foo", "2"), say: say()}, {ask: f("Foo", "1"), want: cache, of: 1}, {ask: f("Foo", "3"), want: cache, of: 2}}},
		{"vary-missing-since-it-is-stale", section, should, []step{
			{ask: f("Foo", "1"), say: append(say("Foo"), "Age", "150", "Etag", `"a"`)}, {ask: f("Foo", "2"), say: say()}, {ask: f("Foo", "1"), want: cache, of: 2}}},
		{"vary-field-sent", section, must, []step{{ask: f("Foo", "1"), say: say("Foo"), asked: f("Foo", "1")}}},
		{"query-counts", "RFC 9111 §2", must, []step{{target: "?a=1", say: say()}, {target: "?a=2", say: say()}, {target: "?a=1", want: cache}}},
		{"query-order-counts", "RFC 9111 §2", must, []step{{target: "?a=1&b=2", say: say()}, {target: "?b=2&a=1", say: say()}}},
		{"query-empty-counts", "RFC 9111 §2", must, []step{{target: "?", say: say()}, {say: say()}}},
		{"path-case-counts", "RFC 9111 §2", must, []step{{target: "/a", say: say()}, {target: "/A", say: say()}}},
		{"path-slash-counts", "RFC 9111 §2", must, []step{{target: "/a", say: say()}, {target: "/a/", say: say()}}},
		{"path-encoded-slash-counts", "RFC 9111 §2", must, []step{{target: "/a/b", say: say()}, {target: "/a%2Fb", say: say()}}},
	}
}
