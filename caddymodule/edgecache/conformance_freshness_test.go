package edgecache

import (
	"strconv"
	"strings"
	"time"
)

const (
	cacheControl = "Cache-Control"
	fresh        = "max-age=100"
	lifetimes    = "RFC 9111 §4.2.1"
	deltaSeconds = "RFC 9111 §1.2.2"
	ageSection   = "RFC 9111 §5.1"
)

// freshnessBehaviours: how long a response is fresh, and how old it is.
func freshnessBehaviours() (all []behaviour) {
	cc := func(v string) []string { return []string{cacheControl, v} }
	for _, b := range []behaviour{
		noReuse("fresh-nothing", "RFC 9111 §4.2.1", should),
		reuse("fresh-max-age", lifetimes, should, cc(fresh)...),
		noReuse("fresh-max-age-0", lifetimes, must, cc("max-age=0")...),
		reuse("fresh-s-maxage", lifetimes, should, cc("s-maxage=100")...),
		reuse("fresh-s-maxage-over-max-age", lifetimes, should, cc("max-age=0, s-maxage=100")...),
		noReuse("fresh-s-maxage-0-over-max-age", lifetimes, must, cc("max-age=100, s-maxage=0")...),
		reuse("fresh-s-maxage-over-expires", lifetimes, should, cacheControl, "s-maxage=100", "Expires", at(-100)),
		reuse("fresh-max-age-over-expires", lifetimes, should, cacheControl, fresh, "Expires", at(-100)),
		noReuse("fresh-max-age-0-over-expires", lifetimes, must, cacheControl, "max-age=0", "Expires", at(100)),
		noReuse("fresh-s-maxage-0-over-expires", lifetimes, must, cacheControl, "s-maxage=0", "Expires", at(100)),
		reuse("fresh-expires", lifetimes, should, "Expires", at(100)),
		noReuse("fresh-expires-past", lifetimes, must, "Expires", at(-100)),
		noReuse("fresh-expires-now", lifetimes, must, "Expires", at(0), "Date", at(0)),
		reuse("fresh-expires-counts-from-date", lifetimes, should, "Date", at(-100), "Expires", at(100)),
		noReuse("fresh-expires-before-date", lifetimes, must, "Date", at(100), "Expires", at(50)),
		noReuse("fresh-expires-and-age", lifetimes, must, "Expires", at(100), "Age", "200"),
		reuse("fresh-expires-no-date", lifetimes, should, "Expires", at(100), "Date", ""),
		reuse("fresh-expires-bad-date", lifetimes, should, "Expires", at(100), "Date", "today"),
		reuse("fresh-max-age-no-date", lifetimes, should, cacheControl, fresh, "Date", ""),
		reuse("fresh-max-age-bad-date", lifetimes, should, cacheControl, fresh, "Date", "today"),

		reuse("delta-1-year", deltaSeconds, should, cc("max-age=31536000")...),
		reuse("delta-below-2^31", deltaSeconds, should, cc("max-age=2147483647")...),
		reuse("delta-2^31", deltaSeconds, should, cc("max-age=2147483648")...),
		reuse("delta-above-2^31", deltaSeconds, should, cc("max-age=2147483649")...),
		reuse("delta-2^32", deltaSeconds, should, cc("max-age=4294967296")...),
		reuse("delta-2^64", deltaSeconds, should, cc("max-age=18446744073709551616")...),
		reuse("delta-100-digits", deltaSeconds, should, cc("max-age="+strings.Repeat("9", 100))...),
		reuse("delta-s-maxage-2^64", deltaSeconds, should, cc("s-maxage=18446744073709551616")...),
		reuse("delta-leading-zeros", deltaSeconds, should, cc("max-age=000100")...),
		noReuse("delta-negative", deltaSeconds, must, cc("max-age=-100")...),
		noReuse("delta-negative-zero", deltaSeconds, must, cc("max-age=-0")...),
		noReuse("delta-plus", deltaSeconds, should, cc("max-age=+100")...),
		noReuse("delta-decimal", deltaSeconds, should, cc("max-age=100.0")...),
		noReuse("delta-exponent", deltaSeconds, should, cc("max-age=1e3")...),
		noReuse("delta-hexadecimal", deltaSeconds, should, cc("max-age=0x100")...),
		noReuse("delta-letters-behind", deltaSeconds, should, cc("max-age=100a")...),
		noReuse("delta-letters-before", deltaSeconds, should, cc("max-age=a100")...),
		noReuse("delta-word", deltaSeconds, should, cc("max-age=forever")...),
		noReuse("delta-none", deltaSeconds, should, cc("max-age")...),
		noReuse("delta-empty", deltaSeconds, should, cc("max-age=")...),
		noReuse("delta-empty-quotes", deltaSeconds, should, cc(`max-age=""`)...),
		noReuse("delta-unit", deltaSeconds, should, cc("max-age=100s")...),
		noReuse("delta-space-inside", deltaSeconds, should, cc("max-age=1 00")...),
		noReuse("delta-underscore", deltaSeconds, should, cc("max-age=1_000")...),
		noReuse("delta-semicolon", deltaSeconds, should, cc("max-age=100; public")...),

		reuse("max-age-less-age", lifetimes, should, cacheControl, fresh, "Age", "50"),
		noReuse("max-age-as-age", lifetimes, must, cacheControl, fresh, "Age", "100"),
		noReuse("max-age-below-age", lifetimes, must, cacheControl, fresh, "Age", "101"),
		noReuse("s-maxage-below-age", lifetimes, must, cacheControl, "s-maxage=100", "Age", "101"),
		noReuse("max-age-below-apparent-age", "RFC 9111 §4.2.3", must, cacheControl, fresh, "Date", at(-150)),
		reuse("max-age-above-apparent-age", "RFC 9111 §4.2.3", should, cacheControl, fresh, "Date", at(-50)),
		reuse("max-age-date-in-future", "RFC 9111 §4.2.3", should, cacheControl, fresh, "Date", at(500)),
		noReuse("max-age-age-beside-date", "RFC 9111 §4.2.3", must, cacheControl, fresh, "Date", at(0), "Age", "200"),

		noReuse("age-first-of-list", ageSection, should, cacheControl, fresh, "Age", "200, 0"),
		reuse("age-first-of-list-small", ageSection, should, cacheControl, fresh, "Age", "0, 200"),
		noReuse("age-first-of-lines", ageSection, should, cacheControl, fresh, "Age", "200", "Age", "0"),
		reuse("age-first-of-lines-small", ageSection, should, cacheControl, fresh, "Age", "0", "Age", "200"),
		reuse("age-negative", ageSection, should, cacheControl, fresh, "Age", "-200"),
		reuse("age-decimal", ageSection, should, cacheControl, fresh, "Age", "200.0"),
		reuse("age-letters", ageSection, should, cacheControl, fresh, "Age", "200a"),
		reuse("age-letters-before", ageSection, should, cacheControl, fresh, "Age", "a200"),
		reuse("age-word", ageSection, should, cacheControl, fresh, "Age", "old"),
		reuse("age-quoted", ageSection, should, cacheControl, fresh, "Age", `"200"`),
		reuse("age-parameter", ageSection, should, cacheControl, fresh, "Age", "200;foo=bar"),
		noReuse("age-leading-zeros", ageSection, must, cacheControl, fresh, "Age", "00200"),
		noReuse("age-2^31", ageSection, must, cacheControl, fresh, "Age", "2147483648"),
		noReuse("age-2^64", ageSection, must, cacheControl, fresh, "Age", "18446744073709551616"),
		noReuse("age-100-digits", ageSection, must, cacheControl, fresh, "Age", strings.Repeat("9", 100)),
		noReuse("age-huge-max-age-huge", ageSection, must, cacheControl, "max-age=99999999999", "Age", "99999999999"),
	} {
		all = append(all, b)
	}
	return append(all,
		behaviour{"age-made", ageSection, must, []step{{say: cc(fresh)}, {want: cache, get: []string{"Age", "~0"}}}},
		behaviour{"age-not-of-origin", ageSection, should, []step{{say: cc("no-store"), get: []string{"Age", ""}}}},
		behaviour{"age-added", ageSection, must, []step{{say: []string{cacheControl, fresh, "Age", "40"}, get: []string{"Age", "40"}}, {want: cache, get: []string{"Age", "~40"}}}},
		behaviour{"age-from-date", ageSection, must, []step{{say: []string{cacheControl, fresh, "Date", at(-40)}}, {want: cache, get: []string{"Age", "~40"}}}},
		behaviour{"age-larger-of-two", "RFC 9111 §4.2.3", must, []step{{say: []string{cacheControl, fresh, "Date", at(-10), "Age", "40"}}, {want: cache, get: []string{"Age", "~40"}}}},
		behaviour{"age-passed-when-not-stored", ageSection, should, []step{{say: []string{cacheControl, "no-store", "Age", "40"}, get: []string{"Age", "40"}}}},
		behaviour{"date-kept", "RFC 9110 §6.6.1", must, []step{{say: []string{cacheControl, fresh, "Date", date40}}, {want: cache, get: []string{"Date", date40}}}},
	)
}

// date40 is one date, 40 seconds before the test.
var date40 string

const (
	expiresSection = "RFC 9111 §5.3"
	dateSection    = "RFC 9110 §5.6.7"
)

// dateBehaviours: which strings are dates.
func dateBehaviours() (all []behaviour) {
	t := time.Now().Add(time.Hour).UTC()
	imf, rfc850, asctime := t.Format("Mon, 02 Jan 2006 15:04:05 GMT"), t.Format("Monday, 02-Jan-06 15:04:05 GMT"), t.Format("Mon Jan _2 15:04:05 2006")
	good := map[string]string{
		"imf": imf, "rfc850": rfc850, "asctime": asctime,
		"lower-case": strings.ToLower(imf), "upper-case": strings.ToUpper(imf), // RFC 9111 §4.2
		"far":       "Fri, 31 Dec 9999 23:59:59 GMT",
		"wrong-day": t.AddDate(0, 0, 1).Format("Mon") + imf[3:],
	}
	day, year := t.Format("02"), t.Format("2006")
	bad := map[string]string{
		"zero": "0", "minus-1": "-1", "now": "now", "number": strconv.FormatInt(t.Unix(), 10),
		"iso":               t.Format(time.RFC3339),
		"utc":               strings.Replace(imf, "GMT", "UTC", 1),
		"offset":            strings.Replace(imf, "GMT", "+0000", 1),
		"other-zone":        strings.Replace(imf, "GMT", "AEST", 1),
		"no-zone":           strings.TrimSuffix(imf, " GMT"),
		"no-comma":          strings.Replace(imf, ",", "", 1),
		"double-space":      strings.Replace(imf, ", ", ",  ", 1),
		"double-space-time": strings.Replace(imf, year+" ", year+"  ", 1),
		"dashes":            t.Format("Mon, 02-Jan-2006 15:04:05 GMT"),
		"dots":              t.Format("Mon, 02 Jan 2006 15.04.05 GMT"),
		"two-digit-year":    t.Format("Mon, 02 Jan 06 15:04:05 GMT"),
		"long-day":          t.Format("Monday, 02 Jan 2006 15:04:05 GMT"),
		"long-month":        t.Format("Mon, 02 January 2006 15:04:05 GMT") + ".",
		"no-such-day":       "Abc" + imf[3:],
		"no-seconds":        t.Format("Mon, 02 Jan 2006 15:04 GMT"),
		"quoted":            `"` + imf + `"`,
		"trailing":          imf + "x",
		"day-32":            "Fri, 32" + strings.TrimPrefix(imf, imf[:7]),
		"february-30":       "Tue, 30 Feb " + strconv.Itoa(t.Year()+2) + " 10:00:00 GMT",
		"hour-24":           imf[:17] + "24:00:00 GMT",
		"hour-one-digit":    imf[:17] + "1:04:05 GMT",
		"day-one-digit":     "Mon, " + strings.TrimPrefix(day, "0")[:1] + imf[7:],
		"empty-quotes":      `""`,
	}
	for name, v := range good {
		all = append(all, reuse("date-"+name, dateSection, should, "Expires", v))
	}
	for name, v := range bad {
		all = append(all, noReuse("date-not-"+name, expiresSection, must, "Expires", v))
	}
	return append(all,
		noReuse("expires-twice-fresh-stale", expiresSection, may, "Expires", at(100), "Expires", at(-100)),
		noReuse("expires-twice-stale-fresh", expiresSection, must, "Expires", at(-100), "Expires", at(100)),
		noReuse("expires-bad-beside-last-modified", expiresSection, must, "Expires", "0", "Date", at(0)),
		noReuse("expires-bad-is-explicit", "RFC 9111 §4.2.2", must, "Expires", "0", cacheControl, "public"),
	)
}
