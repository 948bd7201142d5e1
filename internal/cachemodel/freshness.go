package cachemodel

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// members are the members of a list, over all lines.
func members(lines []string) (all []string) {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if member = strings.TrimSpace(member); member != "" {
				all = append(all, member)
			}
		}
	}
	return all
}

// has reports whether a list has a member.
func has(h http.Header, name, member string) bool { return slices.Contains(members(h[name]), member) }

// control is the field that speaks to this cache (RFC 9213 §2.2).
func control(h http.Header) string {
	if len(h["Cdn-Cache-Control"]) > 0 {
		return "Cdn-Cache-Control"
	}
	return "Cache-Control"
}

func says(x *Exchange, directive string) bool { return has(x.Header, control(x.Header), directive) }

// seconds is the argument of a directive.
func seconds(x *Exchange, directive string) (d time.Duration, ok bool) {
	for _, member := range members(x.Header[control(x.Header)]) {
		if arg, found := strings.CutPrefix(member, directive+"="); found {
			n, err := strconv.Atoi(arg)
			return time.Duration(max(n, 0)) * time.Second, err == nil
		}
	}
	return 0, false
}

// lifetime is for how long a response is fresh (RFC 9111 §4.2.1).
func lifetime(x *Exchange) (d time.Duration, ok bool) {
	if d, ok = seconds(x, "s-maxage"); ok {
		return d, ok
	}
	if d, ok = seconds(x, "max-age"); ok {
		return d, ok
	}
	if control(x.Header) != "Cache-Control" || x.Header.Get("Expires") == "" {
		return 0, false
	}
	expires, err := http.ParseTime(x.Header.Get("Expires"))
	date, err2 := http.ParseTime(x.Header.Get("Date"))
	if err != nil || err2 != nil {
		return 0, true
	}
	return max(expires.Sub(date), 0), true
}

// unshareable is why the response of an exchange is for nobody but the request
// that caused it (RFC 9111 §3), or empty.
func unshareable(x *Exchange) string {
	_, lives := lifetime(x)
	validator := x.Header.Get("Etag") != "" || x.Header.Get("Last-Modified") != ""
	everybody := says(x, "public") || says(x, "must-revalidate")
	if _, ok := seconds(x, "s-maxage"); ok {
		everybody = true
	}
	switch {
	case x.Failed || x.Broken && x.Status == 0:
		return "it failed"
	case x.Method != http.MethodGet && x.Method != http.MethodHead:
		return "answer to " + x.Method
	case says(x, "no-store"):
		return "no-store"
	case has(x.Request, "Cache-Control", "no-store"):
		return "no-store of the request"
	case says(x, "private"):
		return "private"
	case x.Request.Get("Authorization") != "" && !everybody:
		return "the request had credentials"
	case has(x.Header, "Vary", "*"):
		return "Vary: *"
	case !lives && !(says(x, "no-cache") && validator):
		return "no lifetime"
	}
	return ""
}

// selecting is what counts of a request field that a response varies by.
func selecting(request http.Header, name string) string {
	value := strings.Join(members(request[name]), ",")
	if name == "Accept-Encoding" {
		return strconv.FormatBool(strings.Contains(value, "gzip")) // all that Steps have
	}
	if _, there := request[name]; !there {
		return "absent"
	}
	return value
}

// age is between which bounds the age of a response is at two moments
// (RFC 9111 §4.2.3).
func (m *Model) age(x *Exchange, earliest, latest time.Time) (least, most time.Duration) {
	n, _ := strconv.Atoi(x.Header.Get("Age"))
	given := time.Duration(n) * time.Second
	least = given + max(earliest.Sub(x.Answered.Time)-m.Slack, 0)
	apparent := time.Duration(0)
	if date, err := http.ParseTime(x.Header.Get("Date")); err == nil {
		apparent = x.Answered.Time.Add(m.Slack).Sub(date)
		least = max(least, earliest.Sub(date)-m.Slack)
	}
	most = max(given+x.Answered.Time.Sub(x.Asked.Time)+m.Slack, apparent) + latest.Sub(x.Answered.Time)
	return least, most
}

// checkFresh asks whether a may be answered with x, which was there before a
// was asked.
func (m *Model) checkFresh(a *Answer, x *Exchange) error {
	if says(x, "no-cache") {
		return fmt.Errorf("no-cache, and not validated")
	}
	life, _ := lifetime(x)
	age, _ := m.age(x, a.Asked.Time, a.Answered.Time)
	if age < life {
		return nil
	}
	stale := age - life
	shared, sMaxAge := seconds(x, "s-maxage")
	revalidate, _ := seconds(x, "stale-while-revalidate")
	onError, named := seconds(x, "stale-if-error")
	if !named && !sMaxAge && life > 0 && x.Status < 500 {
		onError = m.StaleIfError
	}
	switch {
	case says(x, "must-revalidate") || says(x, "proxy-revalidate"):
		return fmt.Errorf("stale by %v, and to be validated", stale)
	case stale < revalidate:
		return nil
	case stale < onError && m.trouble(a):
		return nil
	}
	return fmt.Errorf("stale by %v (lifetime %v, s-maxage %v, age %v) and nothing permits that", stale, life, shared, age)
}

// checkAge asks whether the answer says rightly how old it is (RFC 9111 §5.1),
// and how long it is fresh (RFC 9211 §2.4).
func (m *Model) checkAge(a *Answer, x *Exchange, own bool) error {
	least, most := m.age(x, x.Answered.Time, a.Answered.Time)
	hit := strings.Contains(a.Header.Get("Cache-Status"), "; hit")
	if hit || !own && !m.underWay(a, x) {
		least, most = m.age(x, a.Asked.Time, a.Answered.Time)
	}
	text := a.Header.Get("Age")
	n, err := strconv.Atoi(text)
	age := time.Duration(n) * time.Second
	switch {
	case text == "" && hit:
		return fmt.Errorf("a hit without Age")
	case own && !hit && text == x.Header.Get("Age"): // passed on as it came
	case !hit && text == "" && m.completed(a, x):
	case text == "" && least < time.Second:
	case err != nil || age > most || age+time.Second <= least:
		return fmt.Errorf("Age: %q, want %v to %v", text, least, most)
	}
	_, ttl, found := strings.Cut(a.Header.Get("Cache-Status"), "; ttl=")
	if !found {
		return nil
	}
	ttl, _, _ = strings.Cut(ttl, ";")
	n, err = strconv.Atoi(ttl)
	life, _ := lifetime(x)
	left := time.Duration(n) * time.Second
	shorter := x.Status == http.StatusPartialContent // other parts may have less time left
	if err != nil || left > life-least || left+time.Second < life-most && !shorter {
		return fmt.Errorf("ttl=%s, want %v to %v", ttl, life-most, life-least)
	}
	return nil
}
