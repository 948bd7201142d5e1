package httpcache

import (
	"strings"
	"time"
)

// The three shapes of an HTTP-date (RFC 9110 §5.6.7).
const (
	imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"
	rfc850     = "Monday, 02-Jan-06 15:04:05 GMT"
	asctime    = "Mon Jan _2 15:04:05 2006"
)

// parseDate reads an HTTP-date strictly: exactly one of the three shapes of
// RFC 9110 §5.6.7, two-digit hours, single spaces, names in any case. net/http
// accepts more than that, and a field that is not a date has to make its
// response stale (RFC 9111 §5.3). Which day of the week it is, which many who
// write dates by hand get wrong, the date tells itself.
//
// now decides the century of a two-digit year: a date more than 50 years
// ahead is taken to be in the past.
func parseDate(s string, now time.Time) (time.Time, bool) {
	if len(s) < len(asctime) || len(s) > len("Wednesday, 02-Jan-06 15:04:05 GMT") {
		return time.Time{}, false
	}
	layout, day := asctime, len("Mon")
	switch {
	case len(s) == len(imfFixdate) && s[3] == ',':
		layout = imfFixdate
	case strings.Contains(s, ", "):
		layout, day = rfc850, strings.IndexByte(s, ',')
	case s[8] == '0': // asctime has a space there, and either will do
		s = s[:8] + " " + s[9:]
	}
	t, err := time.Parse(layout, canonicalDate(s))
	if err != nil {
		return time.Time{}, false
	}
	if layout == rfc850 {
		t = nearCentury(t, now)
	}
	t = t.UTC()
	// What cannot be written back the same way was not in that shape:
	// time.Parse lets through short hours and extra spaces.
	written := t.Format(layout)
	if len(written) < len(s)-day || !strings.EqualFold(written[len(written)-len(s)+day:], s[day:]) {
		return time.Time{}, false
	}
	return t, true
}

// canonicalDate gives the zone the case time.Parse insists on; it takes day
// and month names in any case.
func canonicalDate(s string) string {
	if zone := len(s) - 3; strings.EqualFold(s[zone:], "GMT") {
		return s[:zone] + "GMT"
	}
	return s
}

// nearCentury moves a date with a two-digit year to the century that RFC 9110
// §5.6.7 asks for.
func nearCentury(t, now time.Time) time.Time {
	year := now.Year()/100*100 + t.Year()%100
	t = t.AddDate(year-t.Year(), 0, 0)
	if t.After(now.AddDate(50, 0, 0)) {
		t = t.AddDate(-100, 0, 0)
	}
	return t
}
