package edgecache

// requestBehaviours: what a client asks of caches, and who it is.
func requestBehaviours() (all []behaviour) {
	const section, auth = "RFC 9111 §5.2.1", "RFC 9111 §3.5"
	aged := []string{cacheControl, fresh, "Age", "50"}
	tagged := append([]string{"Etag", `"a"`}, aged...)
	asks := func(id, sub string, l level, stored []string, want, safe outcome, ask ...string) {
		all = append(all, behaviour{"ask-" + id, section + sub, l, []step{{say: stored}, {ask: ask, say: stored, want: want, safe: safe}}})
	}
	// The safe preset does not let clients aim at the origin server.
	asks("no-cache", ".4", should, tagged, validated, cache, cacheControl, "no-cache")
	asks("no-cache-upper-case", ".4", should, tagged, validated, cache, cacheControl, "NO-CACHE")
	asks("no-cache-no-validator", ".4", should, aged, origin, cache, cacheControl, "no-cache")
	asks("no-cache-argument", ".4", may, aged, cache, unset, cacheControl, "foo=no-cache")
	asks("max-age-0", ".1", should, tagged, validated, cache, cacheControl, "max-age=0")
	asks("max-age-less", ".1", should, tagged, validated, cache, cacheControl, "max-age=40")
	asks("max-age-more", ".1", should, aged, cache, unset, cacheControl, "max-age=60")
	asks("max-age-nonsense", ".1", may, tagged, validated, cache, cacheControl, "max-age=x")
	asks("min-fresh-enough", ".3", should, aged, cache, unset, cacheControl, "min-fresh=10")
	asks("min-fresh-not-enough", ".3", should, tagged, validated, cache, cacheControl, "min-fresh=60")
	asks("no-store-of-stored", ".5", may, aged, cache, unset, cacheControl, "no-store")
	asks("no-transform", ".6", may, aged, cache, unset, cacheControl, "no-transform")
	asks("unknown", "; §5.2.3", should, aged, cache, unset, cacheControl, "foo, bar=baz")
	asks("only-if-cached", ".7", should, aged, cache, unset, cacheControl, "only-if-cached")
	asks("pragma", "; §5.4", should, tagged, validated, cache, "Pragma", "no-cache")
	asks("pragma-beside-cache-control", "; §5.4", should, aged, cache, unset, "Pragma", "no-cache", cacheControl, "max-age=60")
	asks("pragma-unknown", "; §5.4", should, aged, cache, unset, "Pragma", "foo")
	asks("pragma-list", "; §5.4", should, tagged, validated, cache, "Pragma", "foo, no-cache")
	immutable := []string{cacheControl, "max-age=100, immutable", "Age", "50", "Etag", `"a"`}
	asks("max-age-0-of-immutable", "; RFC 8246 §2", should, immutable, cache, unset, cacheControl, "max-age=0")
	asks("no-cache-of-immutable", "; RFC 8246 §2", should, immutable, validated, cache, cacheControl, "no-cache")
	swr := []string{cacheControl, fresh + ", stale-while-revalidate=1000", "Age", "150"}
	asks("max-age-is-not-for-stale", ".1", should, swr, origin, refreshing, cacheControl, "max-age=1000")
	stale := []string{cacheControl, fresh, "Age", "150"}
	asks("max-stale", ".2", may, stale, cache, origin, cacheControl, "max-stale")
	asks("max-stale-enough", ".2", may, stale, cache, origin, cacheControl, "max-stale=1000")
	asks("max-stale-not-enough", ".2", must, stale, origin, unset, cacheControl, "max-stale=10")
	asks("max-stale-must-revalidate", ".2", must, []string{cacheControl, "max-age=100, must-revalidate", "Age", "150"}, origin, unset, cacheControl, "max-stale=1000")
	asks("max-stale-proxy-revalidate", ".2", must, []string{cacheControl, "max-age=100, proxy-revalidate", "Age", "150"}, origin, unset, cacheControl, "max-stale=1000")
	asks("max-stale-s-maxage", ".2", must, []string{cacheControl, "s-maxage=100", "Age", "150"}, origin, unset, cacheControl, "max-stale=1000")
	asks("max-stale-no-cache", ".2", must, []string{cacheControl, "max-age=100, no-cache", "Etag", `"a"`}, validated, unset, cacheControl, "max-stale=1000")
	asks("range-of-stored", "; RFC 9110 §14.2", should, aged, cache, unset)

	authorized := func(id string, l level, directive string, want outcome) {
		say := []string{cacheControl, fresh + directive}
		ask := []string{"Authorization", "Basic dTpw"}
		all = append(all, behaviour{"auth-" + id, auth, l, []step{{ask: ask, say: say}, {ask: ask, say: say, want: want}}},
			behaviour{"auth-for-others-" + id, auth, l, []step{{ask: ask, say: say}, {ask: []string{"Authorization", "Basic eDp5"}, say: say, want: want}}},
			behaviour{"auth-for-anonymous-" + id, auth, l, []step{{ask: ask, say: say}, {say: say, want: want}}})
	}
	authorized("plain", must, "", origin)
	authorized("public", should, ", public", cache)
	authorized("must-revalidate", should, ", must-revalidate", cache)
	authorized("s-maxage", should, ", s-maxage=100", cache)
	authorized("private", must, ", private", origin)
	authorized("proxy-revalidate", must, ", proxy-revalidate", origin)
	return append(all,
		behaviour{"ask-no-store-is-not-stored", section + ".5", must, []step{{ask: []string{cacheControl, "no-store"}, say: aged}, {say: aged}, {want: cache, of: 2}}},
		behaviour{"ask-no-store-upper-case", section + ".5", must, []step{{ask: []string{cacheControl, "NO-STORE"}, say: aged}, {say: aged}}},
		behaviour{"ask-only-if-cached-miss", section + ".7", should, []step{{ask: []string{cacheControl, "only-if-cached"}, want: failure, code: 504}}},
		behaviour{"ask-only-if-cached-stale", section + ".7", should, []step{{say: append([]string{"Etag", `"a"`}, stale...)}, {ask: []string{cacheControl, "only-if-cached"}, want: failure, code: 504}}},
		behaviour{"ask-only-if-cached-does-not-ask", section + ".7", should, []step{{ask: []string{cacheControl, "only-if-cached"}, want: failure, code: 504}, {say: aged}, {ask: []string{cacheControl, "only-if-cached"}, want: cache, of: 2}}},
		behaviour{"auth-anonymous-then-authorized", auth, should, []step{{say: aged}, {ask: []string{"Authorization", "Basic dTpw"}, say: aged}, {want: cache}}},
		behaviour{"cookie-request", "RFC 9111 §7.3", may, []step{{ask: []string{"Cookie", "a=1"}, say: aged}, {ask: []string{"Cookie", "a=2"}, want: cache}}},
		behaviour{"cookie-request-page", "RFC 9111 §7.3", may, []step{{ask: []string{"Cookie", "a=1"}, say: append([]string{"Content-Type", "text/html"}, aged...)},
			{ask: []string{"Cookie", "a=2"}, want: cache, safe: origin}}},
		behaviour{"cookie-request-page-public", "RFC 9111 §7.3", may, []step{{ask: []string{"Cookie", "a=1"}, say: []string{"Content-Type", "text/html", cacheControl, "public, max-age=100"}},
			{ask: []string{"Cookie", "a=2"}, want: cache}}},
		behaviour{"set-cookie", "RFC 9111 §7.3", may, []step{{say: append([]string{"Set-Cookie", "a=1"}, aged...), get: []string{"Set-Cookie", "a=1"}}, {want: cache, safe: origin, say: append([]string{"Set-Cookie", "a=1"}, aged...)}}},
		behaviour{"set-cookie-withheld", "RFC 9111 §5.2.2.7", should, []step{{say: []string{"Set-Cookie", "a=1", cacheControl, `max-age=100, private="set-cookie"`}, get: []string{"Set-Cookie", "a=1"}}, {want: cache, get: []string{"Set-Cookie", ""}}}},
		behaviour{"connection-names-fields", "RFC 9110 §7.6.1", must, []step{{say: aged}, {ask: []string{"Connection", "X-Hop", "X-Hop", "1"}, say: aged}}},
	)
}

// staleBehaviours: when a response is used beyond its lifetime.
func staleBehaviours() (all []behaviour) {
	const swr, sie, disconnected = "RFC 5861 §3", "RFC 5861 §4", "RFC 9111 §4.2.4"
	stale := func(directives string, more ...string) []string {
		return append([]string{cacheControl, "max-age=100" + directives, "Age", "150"}, more...)
	}
	fails := func(id, section string, l level, say []string, want outcome, last step) {
		last.want = want
		if want == origin && last.broken {
			last.want, last.code = failure, 502
		}
		if want == cache {
			last.want, last.code = stood, 200
		}
		all = append(all, behaviour{"stale-" + id, section, l, []step{{say: say}, last}})
	}
	gone := step{broken: true}
	fails("disconnected", disconnected, may, stale(""), cache, gone)
	fails("disconnected-validator", disconnected, may, stale("", "Etag", `"a"`), cache, gone)
	fails("disconnected-must-revalidate", disconnected, must, stale(", must-revalidate"), origin, gone)
	fails("disconnected-proxy-revalidate", disconnected, must, stale(", proxy-revalidate"), origin, gone)
	fails("disconnected-no-cache", disconnected, must, stale(", no-cache", "Etag", `"a"`), origin, gone)
	fails("disconnected-s-maxage", "RFC 9111 §5.2.2.10", must, stale(", s-maxage=100"), origin, gone)
	fails("disconnected-expires", disconnected, may, []string{"Expires", at(-50), "Date", at(-150), "Etag", `"a"`}, cache, gone)
	fails("disconnected-sie-0", sie, should, stale(", stale-if-error=0"), origin, gone)
	fails("disconnected-sie", sie, should, stale(", stale-if-error=1000"), cache, gone)
	fails("disconnected-sie-over", sie, must, stale(", stale-if-error=10"), origin, gone)
	for _, status := range []int{500, 502, 503, 504} {
		id := map[int]string{500: "500", 502: "502", 503: "503", 504: "504"}[status]
		fails(id+"-sie", sie, should, stale(", stale-if-error=1000"), cache, step{status: status})
		fails(id+"-sie-over", sie, must, stale(", stale-if-error=10"), origin, step{status: status})
		fails(id+"-sie-0", sie, must, stale(", stale-if-error=0"), origin, step{status: status})
		fails(id+"-sie-must-revalidate", disconnected, must, stale(", stale-if-error=1000, must-revalidate"), origin, step{status: status})
		fails(id+"-sie-no-cache", disconnected, must, stale(", stale-if-error=1000, no-cache", "Etag", `"a"`), origin, step{status: status})
		fails(id+"-silent", disconnected, may, stale(""), cache, step{status: status})
	}
	for _, status := range []int{400, 403, 404, 410, 501, 505} {
		fails("not-by-"+map[int]string{400: "400", 403: "403", 404: "404", 410: "410", 501: "501", 505: "505"}[status], sie, must,
			stale(", stale-if-error=1000"), origin, step{status: status})
	}
	return append(all,
		behaviour{"stale-head", disconnected, may, []step{{say: stale("")}, {method: "HEAD", broken: true, want: stood, code: 200, get: []string{"Age", "~150"}}}},
		behaviour{"stale-head-must-revalidate", disconnected, must, []step{{say: stale(", must-revalidate", "Etag", `"a"`)}, {method: "HEAD", broken: true, want: failure, code: 502}}},
		behaviour{"stale-never-without-reason", disconnected, must, []step{{say: stale("")}, {say: stale("")}}},
		behaviour{"swr", swr, should, []step{{say: stale(", stale-while-revalidate=1000")}, {want: refreshing, code: 200, say: []string{cacheControl, fresh}}, {want: cache, of: 2}}},
		behaviour{"swr-validates", swr, should, []step{{say: stale(", stale-while-revalidate=1000", "Etag", `"a"`)}, {want: refreshing, code: 200, asked: []string{"If-None-Match", `"a"`}, say: []string{cacheControl, fresh}}, {want: cache, of: 2}}},
		behaviour{"swr-over", swr, must, []step{{say: stale(", stale-while-revalidate=10")}, {}}},
		behaviour{"swr-0", swr, must, []step{{say: stale(", stale-while-revalidate=0")}, {}}},
		behaviour{"swr-must-revalidate", "RFC 9111 §5.2.2.2", must, []step{{say: stale(", stale-while-revalidate=1000, must-revalidate")}, {}}},
		behaviour{"swr-proxy-revalidate", "RFC 9111 §5.2.2.8", must, []step{{say: stale(", stale-while-revalidate=1000, proxy-revalidate")}, {}}},
		behaviour{"swr-no-cache", "RFC 9111 §5.2.2.4", must, []step{{say: stale(", stale-while-revalidate=1000, no-cache", "Etag", `"a"`)}, {want: validated, say: []string{cacheControl, "no-cache", "Etag", `"a"`}}}},
		behaviour{"swr-s-maxage", "RFC 9111 §5.2.2.10", may, []step{{say: stale(", s-maxage=100, stale-while-revalidate=1000")}, {want: origin, safe: refreshing, say: []string{cacheControl, fresh}}}},
		behaviour{"swr-then-no-store", swr, must, []step{{say: stale(", stale-while-revalidate=1000")}, {want: refreshing, code: 200, say: []string{cacheControl, "no-store"}}, {}}},
		behaviour{"swr-then-no-cache", swr, must, []step{{say: stale(", stale-while-revalidate=1000")}, {want: refreshing, code: 200, say: []string{cacheControl, "no-cache", "Etag", `"a"`}}, {want: validated, of: 2, say: []string{cacheControl, "no-cache", "Etag", `"a"`}}}},
		behaviour{"swr-nonsense", swr, should, []step{{say: stale(", stale-while-revalidate=x")}, {}}},
		behaviour{"sie-changes-no-more-than-once", sie, should, []step{{say: stale(", stale-if-error=1000", "Etag", `"a"`)}, {want: stood, code: 200, status: 503}, {want: origin, say: []string{cacheControl, fresh}}, {want: cache, of: 3}}},
		behaviour{"stale-hit-says-its-age", ageSection, must, []step{{say: stale(", stale-if-error=1000")}, {want: stood, code: 200, status: 503, get: []string{"Age", "~150"}}}},
	)
}

// targetedBehaviours: RFC 9213 through the whole of it; the rules themselves
// have their own table.
func targetedBehaviours() []behaviour {
	const section = "RFC 9213 §2.2"
	cdn := func(v string, more ...string) []string { return append([]string{"CDN-Cache-Control", v}, more...) }
	return []behaviour{
		reuse("cdn-max-age", section, should, cdn("max-age=100")...),
		reuse("cdn-max-age-over-max-age-0", section, must, cdn("max-age=100", cacheControl, "max-age=0")...),
		reuse("cdn-max-age-over-no-store", section, must, cdn("max-age=100", cacheControl, "no-store")...),
		reuse("cdn-max-age-over-private", section, must, cdn("max-age=100", cacheControl, "private")...),
		reuse("cdn-max-age-over-no-cache", section, must, cdn("max-age=100", cacheControl, "no-cache")...),
		reuse("cdn-max-age-over-expires", section, must, cdn("max-age=100", "Expires", at(-100))...),
		noReuse("cdn-max-age-0", section, must, cdn("max-age=0", cacheControl, fresh)...),
		noReuse("cdn-no-store", section, must, cdn("no-store", cacheControl, fresh)...),
		noReuse("cdn-private", section, must, cdn("private", cacheControl, fresh)...),
		noReuse("cdn-no-cache", section, must, cdn("no-cache", cacheControl, fresh)...),
		noReuse("cdn-no-lifetime", section, must, cdn("public", cacheControl, fresh)...),
		noReuse("cdn-no-lifetime-expires", section, must, cdn("public", "Expires", at(100))...),
		noReuse("cdn-age", section, must, cdn("max-age=100", "Age", "150")...),
		reuse("cdn-age-less", section, should, cdn("max-age=100", "Age", "50")...),
		reuse("cdn-empty", section, must, cdn(" ", cacheControl, fresh)...),
		noReuse("cdn-empty-no-store", section, must, cdn(" ", cacheControl, "no-store")...),
		reuse("cdn-malformed", section, must, cdn("no-store, &&&", cacheControl, fresh)...),
		noReuse("cdn-malformed-no-store", section, must, cdn("max-age=100, &&&", cacheControl, "no-store")...),
		noReuse("cdn-trailing-comma", section, must, cdn("max-age=100,", cacheControl, "no-store")...),
		noReuse("cdn-wrong-type", "RFC 9213 §2.1", must, cdn(`max-age="100"`, cacheControl, "no-store")...),
		noReuse("cdn-wrong-type-does-not-fall-back", "RFC 9213 §2.1", should, cdn(`max-age="100"`, cacheControl, fresh)...),
		noReuse("cdn-upper-case-directive", "RFC 9651 §3.2", must, cdn("MAX-AGE=100", cacheControl, "no-store")...),
		reuse("cdn-field-name-case", "RFC 9110 §5.1", must, "cdn-CACHE-control", "max-age=100"),
		reuse("cdn-unknown", section, must, cdn("foo=bar, max-age=100")...),
		reuse("cdn-parameters", "RFC 9213 §2.1", must, cdn("max-age=100;foo=bar")...),
		reuse("cdn-two-lines", "RFC 9651 §4.2", must, cdn("public", "CDN-Cache-Control", "max-age=100")...),
		reuse("cdn-huge", section, should, cdn("max-age=999999999999999")...),
		noReuse("cdn-too-huge", "RFC 9651 §3.3.1", must, cdn("max-age=9999999999999999")...),
		noReuse("cdn-15-digits-before-no-store", "RFC 9651 §3.3.1", must, cdn("a=999999999999999, no-store", cacheControl, fresh)...),
		reuse("own-first", section, must, "Edgecache-Cache-Control", "max-age=100", "CDN-Cache-Control", "no-store"),
		noReuse("own-no-store-first", section, must, "Edgecache-Cache-Control", "no-store", "CDN-Cache-Control", "max-age=100"),
		reuse("own-malformed", section, must, "Edgecache-Cache-Control", "no-store,", "CDN-Cache-Control", "max-age=100"),
		{"cdn-passed-on", "RFC 9213 §3", may, []step{{say: cdn("max-age=100", cacheControl, "no-store"), get: []string{"CDN-Cache-Control", "max-age=100", cacheControl, "no-store"}},
			{want: cache, get: []string{"CDN-Cache-Control", "max-age=100", cacheControl, "no-store"}}}},
		{"cdn-swr", section, should, []step{{say: cdn("max-age=100, stale-while-revalidate=1000", "Age", "150")}, {want: refreshing, code: 200, say: cdn("max-age=100")}, {want: cache, of: 2}}},
		{"cdn-must-revalidate", section, must, []step{{say: cdn("max-age=100, must-revalidate", "Age", "150")}, {want: failure, code: 502, broken: true}}},
		{"cdn-304-renews", section, should, []step{{say: cdn("max-age=100", "Age", "150", "Etag", `"a"`)}, {want: validated, say: cdn("max-age=100")}, {want: cache}}},
	}
}
