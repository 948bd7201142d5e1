package edgecache

import "strings"

// fieldBehaviours: which fields are stored, passed and made, and the rest.
func fieldBehaviours() (all []behaviour) {
	const storing, status, ranges = "RFC 9111 §3.1", "RFC 9211 §2", "RFC 9110 §14.2"
	say := []string{cacheControl, fresh}
	with := func(more ...string) []string { return append(append([]string{}, say...), more...) }
	for _, name := range []string{"X-Test", "Content-Foo", "Content-Location", "Content-Md5", "Content-Language", "Content-Security-Policy",
		"Content-Disposition", "Clear-Site-Data", "Expires", "Etag", "Last-Modified", "Link", "P3p", "Refresh", "Server", "Strict-Transport-Security",
		"Warning", "X-Frame-Options", "X-Xss-Protection", "Accept-Ranges", "Allow", "Retry-After", "Www-Authenticate", "Pragma", "Nel"} {
		value := "value"
		if name == "Expires" || name == "Last-Modified" {
			value = monday
		}
		all = append(all, behaviour{"stored-" + strings.ToLower(name), storing, must, []step{
			{say: with(name, value), get: []string{name, value}}, {want: cache, get: []string{name, value}}}})
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection", "Te", "Upgrade"} {
		value := "value"
		if name == "Connection" {
			value = "X-Nothing"
		}
		all = append(all, behaviour{"not-stored-" + strings.ToLower(name), storing, must, []step{
			{say: with(name, value)}, {want: cache, get: []string{name, ""}}}})
	}
	return append(all,
		behaviour{"not-stored-named-by-connection", storing, must, []step{{say: with("Connection", "X-Hop, x-other", "X-Hop", "1", "X-Other", "2", "X-Stays", "3")}, {want: cache, get: []string{"X-Hop", "", "X-Other", "", "X-Stays", "3"}}}},
		behaviour{"stored-lines", storing, must, []step{{say: with("X-Test", "1", "X-Test", "2", "X-Test", "1")}, {want: cache, get: []string{"X-Test", "1, 2, 1"}}}},
		behaviour{"stored-empty-field", storing, should, []step{{say: with("X-Test", " "), get: []string{"X-Test", ""}}, {want: cache}}},
		behaviour{"stored-long-field", storing, must, []step{{say: with("X-Test", strings.Repeat("x", 8000))}, {want: cache, get: []string{"X-Test", strings.Repeat("x", 8000)}}}},
		behaviour{"stored-no-content-type", storing, should, []step{{say: with("Content-Type", ""), get: []string{"Content-Type", ""}}, {want: cache, get: []string{"Content-Type", ""}}}},
		behaviour{"content-length", "RFC 9110 §8.6", must, []step{{say: say, body: "12345", get: []string{"Content-Length", "5"}}, {want: cache, get: []string{"Content-Length", "5"}}}},
		behaviour{"content-large", "RFC 9111 §3.3", must, []step{{say: say, body: strings.Repeat("0123456789", 100_000)}, {want: cache}}},
		behaviour{"cache-status-miss", status, must, []step{{say: say, get: []string{"Cache-Status", "edgecache; fwd=uri-miss; stored"}}}},
		behaviour{"cache-status-upstream", status, must, []step{
			{say: with("Cache-Status", "parent; hit"), get: []string{"Cache-Status", "parent; hit, edgecache; fwd=uri-miss; stored"}}}},
		behaviour{"interim-103", "RFC 9110 §15.2", must, []step{{early: []string{"Link", "</a.css>; rel=preload"}, say: say, get: []string{"Link", ""}}, {want: cache, get: []string{"Link", ""}}}},
		behaviour{"interim-103-not-stored", "RFC 9110 §15.2", must, []step{{early: []string{"Link", "</a.css>; rel=preload", cacheControl, fresh}}, {}}},
		behaviour{"interim-103-does-not-forbid", "RFC 9110 §15.2", must, []step{{early: []string{cacheControl, "no-store"}, say: say}, {want: cache}}},
		behaviour{"range-first", ranges, may, []step{{say: say, body: "0123456789"}, {ask: []string{"Range", "bytes=0-1"}, want: cache, code: 206, get: []string{"Content-Range", "bytes 0-1/10", "Content-Length", "2"}}}},
		behaviour{"range-open", ranges, may, []step{{say: say, body: "0123456789"}, {ask: []string{"Range", "bytes=5-"}, want: cache, code: 206, get: []string{"Content-Range", "bytes 5-9/10"}}}},
		behaviour{"range-suffix", ranges, may, []step{{say: say, body: "0123456789"}, {ask: []string{"Range", "bytes=-2"}, want: cache, code: 206, get: []string{"Content-Range", "bytes 8-9/10"}}}},
		behaviour{"range-beyond", "RFC 9110 §15.5.17", may, []step{{say: say, body: "0123456789"}, {ask: []string{"Range", "bytes=10-"}, want: failure, code: 416, get: []string{"Content-Range", "bytes */10"}}}},
		behaviour{"range-unknown-unit", ranges, must, []step{{say: say, body: "0123456789"}, {ask: []string{"Range", "lines=0-1"}, want: cache}}},
		behaviour{"range-nonsense", ranges, must, []step{{say: say, body: "0123456789"}, {ask: []string{"Range", "bytes=2-1"}, want: cache}}},
		behaviour{"range-of-head", ranges, must, []step{{say: say, body: "0123456789"}, {method: "HEAD", ask: []string{"Range", "bytes=0-1"}, want: cache}}},
		behaviour{"range-if-range", "RFC 9110 §13.1.5", must, []step{{say: with("Etag", `"a"`), body: "0123456789"}, {ask: []string{"Range", "bytes=0-1", "If-Range", `"a"`}, want: cache, code: 206}}},
		behaviour{"range-if-range-other", "RFC 9110 §13.1.5", must, []step{{say: with("Etag", `"a"`), body: "0123456789"}, {ask: []string{"Range", "bytes=0-1", "If-Range", `"b"`}, want: cache}}},
		behaviour{"range-if-range-weak", "RFC 9110 §13.1.5", must, []step{{say: with("Etag", `W/"a"`), body: "0123456789"}, {ask: []string{"Range", "bytes=0-1", "If-Range", `W/"a"`}, want: cache}}},
		behaviour{"range-condition-first", "RFC 9110 §13.2.2", must, []step{{say: with("Etag", `"a"`), body: "0123456789"}, {ask: []string{"Range", "bytes=0-1", "If-None-Match", `"a"`}, want: cache, code: 304}}},
		behaviour{"older-date-does-not-replace", "RFC 9111 §4", must, []step{{say: with("Date", date40, "Vary", "Foo"), ask: []string{"Foo", "1"}}, {want: cache, ask: []string{"Foo", "1"}, get: []string{"Date", date40}}}},
		behaviour{"redirect-is-stored-whole", "RFC 9111 §3", should, []step{{status: 301, say: with("Location", "/x")}, {status: 301, want: cache, get: []string{"Location", "/x"}}}},
		behaviour{"cdn-loop", "RFC 8586 §2", must, []step{{ask: []string{"CDN-Loop", "other"}, say: say}, {want: cache}}},
	)
}
