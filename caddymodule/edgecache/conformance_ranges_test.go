package edgecache

import "slices"

// rangeBehaviours are what RFC 9110 §14 and RFC 9111 §3.3, §3.4 say about
// parts of representations.
func rangeBehaviours() []behaviour {
	const incomplete, combining, ranges = "RFC 9111 §3.3", "RFC 9111 §3.4", "RFC 9110 §14.2"
	say := []string{cacheControl, fresh, "Etag", `"a"`}
	of := func(span string, other ...string) []string { // other takes the place of fields of the same name
		fields := append([]string{"Content-Range", "bytes " + span}, other...)
		for i := 0; i < len(say); i += 2 {
			if !slices.Contains(other, say[i]) {
				fields = append(fields, say[i], say[i+1])
			}
		}
		return fields
	}
	part := func(span, field, body string, more ...string) step {
		return step{ask: []string{"Range", "bytes=" + span}, status: 206, say: of(field, more...), body: body,
			asked: []string{"Range", "bytes=" + span}, get: []string{"Content-Range", "bytes " + field}}
	}
	again := func(span, field string) step {
		return step{ask: []string{"Range", "bytes=" + span}, want: cache, code: 206, get: []string{"Content-Range", "bytes " + field}}
	}
	first := part("0-4", "0-4/10", "01234")
	return []behaviour{
		{"part-reused", incomplete, may, []step{first, again("0-4", "0-4/10")}},
		{"part-of-part-reused", incomplete, may, []step{first, again("1-2", "1-2/10")}},
		{"part-suffix-reused", incomplete, may, []step{part("-5", "5-9/10", "56789"), again("-5", "5-9/10"), again("7-", "7-9/10")}},
		{"part-answers-no-other", incomplete, must, []step{first, part("4-6", "4-6/10", "456")}},
		{"part-is-not-the-whole", incomplete, must, []step{
			part("2-4", "2-4/10", "234"), {body: "0123456789", say: say, asked: []string{"Range", ""}}, {want: cache, of: 2}}},
		{"part-of-unknown-size-not-stored", incomplete, may, []step{part("0-4", "0-4/*", "01234"), part("0-4", "0-4/*", "01234")}},
		{"part-without-freshness-not-stored", incomplete, must, []step{
			part("0-4", "0-4/10", "01234", cacheControl, "no-store"), part("0-4", "0-4/10", "01234", cacheControl, "no-store")}},
		{"parts-combined", combining, may, []step{first, part("5-9", "5-9/10", "56789"), again("3-6", "3-6/10"), {want: cache, body: "0123456789", code: 200, of: 4}}},
		{"parts-of-two-versions", combining, must, []step{
			first, part("5-9", "5-9/10", "vwxyz", "Etag", `"b"`), again("5-9", "5-9/10"), part("0-4", "0-4/10", "qrstu", "Etag", `"b"`)}},
		{"parts-with-weak-tags", combining, must, []step{
			part("0-4", "0-4/10", "01234", "Etag", `W/"a"`), part("5-9", "5-9/10", "56789", "Etag", `W/"a"`), part("0-4", "0-4/10", "01234", "Etag", `W/"a"`)}},
		{"part-completed", combining, may, []step{
			first, {status: 206, say: of("5-9/10"), body: "56789", code: 200, want: failure, // judged below: content of two steps
				asked: []string{"Range", "bytes=5-", "If-Range", `"a"`}, get: []string{"Content-Range", "", "Content-Length", "10"}},
			{want: cache, body: "0123456789", code: 200, of: 3}}},
		{"part-changed-before-completed", combining, must, []step{
			first, {body: "abcdefghij", say: append([]string{"Etag", `"b"`}, cacheControl, fresh), asked: []string{"If-Range", `"a"`}}, {want: cache, of: 2}}},
		{"part-not-completed-weakly", combining, must, []step{
			part("0-4", "0-4/10", "01234", "Etag", `W/"a"`), {body: "0123456789", say: say, asked: []string{"Range", "", "If-Range", ""}}}},
		{"whole-instead-of-part", ranges, may, []step{
			{ask: []string{"Range", "bytes=0-1"}, say: say, body: "0123456789", code: 206, want: origin, get: []string{"Content-Range", "bytes 0-1/10"}},
			{want: cache, body: "0123456789", code: 200}}},
		{"416-not-stored", "RFC 9110 §15.5.17", must, []step{
			{ask: []string{"Range", "bytes=50-"}, status: 416, say: append([]string{"Content-Range", "bytes */10"}, say...)},
			{body: "0123456789", say: say}, {want: cache, of: 2}}},
		{"range-beyond-part", "RFC 9110 §15.5.17", may, []step{first,
			{ask: []string{"Range", "bytes=10-"}, want: failure, code: 416, get: []string{"Content-Range", "bytes */10"}}}},
		{"stale-part-validated", "RFC 9111 §4.3", may, []step{
			part("0-4", "0-4/10", "01234", "Age", "9999"),
			{ask: []string{"Range", "bytes=0-4"}, say: say, want: validated, code: 206, asked: []string{"If-None-Match", `"a"`, "Range", "bytes=0-4"}},
			again("0-4", "0-4/10")}},
		{"stale-part-changed", "RFC 9111 §4.3", must, []step{
			part("0-4", "0-4/10", "01234", "Age", "9999"),
			{ask: []string{"Range", "bytes=0-4"}, status: 206, say: of("0-4/10", "Etag", `"b"`), body: "abcde", asked: []string{"If-None-Match", `"a"`}, get: []string{"Etag", `"b"`}},
			{ask: []string{"Range", "bytes=0-1"}, want: cache, code: 206, get: []string{"Etag", `"b"`}}}},
		{"stale-whole-range", "RFC 9111 §4.3", may, []step{
			{say: append([]string{"Age", "9999"}, say...), body: "0123456789"},
			{ask: []string{"Range", "bytes=0-1"}, say: say, want: validated, code: 206, asked: []string{"If-None-Match", `"a"`, "Range", ""}, get: []string{"Content-Range", "bytes 0-1/10"}}}},
		{"several-parts-pass", incomplete, may, []step{
			{ask: []string{"Range", "bytes=0-1,4-5"}, status: 206, say: append([]string{"Content-Type", "multipart/byteranges; boundary=x"}, say...), asked: []string{"Range", "bytes=0-1,4-5"}},
			{ask: []string{"Range", "bytes=0-1"}, status: 206, say: of("0-1/10"), body: "01"}}},
		{"if-range-passes", "RFC 9110 §13.1.5", may, []step{
			{ask: []string{"Range", "bytes=0-1", "If-Range", `"a"`}, status: 206, say: of("0-1/10"), body: "01", asked: []string{"Range", "bytes=0-1", "If-Range", `"a"`}}}},
		{"head-of-part", "RFC 9110 §14.2", may, []step{first, {method: "HEAD", want: cache, code: 200, get: []string{"Content-Length", "10"}}}},
		{"304-of-part", "RFC 9110 §13.2.2", may, []step{first, {ask: []string{"Range", "bytes=0-1", "If-None-Match", `"a"`}, want: cache, code: 304}}},
	}
}
