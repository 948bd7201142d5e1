package cachemodel

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Origin is the origin server that Steps speak of. It tells the model what it
// is asked and what it says.
type Origin struct {
	Model *Model
	Steps []Step

	mu       sync.Mutex
	versions map[string]int
}

// Begin notes a request and returns what to say: after Say.Latency either
// nothing at all, if Say.Fail, or what Respond returns.
func (o *Origin) Begin(r *http.Request, now time.Time) (*Exchange, Say) {
	x := o.Model.Asked(r, now)
	return x, o.Steps[x.Step].Say
}

// Fail notes that the exchange came to nothing.
func (o *Origin) Fail(x *Exchange, now time.Time) {
	at := o.Model.Now(now)
	o.Model.mu.Lock()
	defer o.Model.mu.Unlock()
	x.Answered, x.Told, x.Failed = at, at, true
}

// Respond decides on the response, notes it, and returns the content to send.
// Call it just before the header is sent.
func (o *Origin) Respond(x *Exchange, now time.Time) (status int, header http.Header, content string) {
	say := o.Steps[x.Step].Say
	safe := x.Method == http.MethodGet || x.Method == http.MethodHead
	o.mu.Lock()
	if o.versions == nil {
		o.versions = make(map[string]int)
	}
	if say.Change || o.versions[x.Path] == 0 || !safe && say.Status < 400 {
		o.versions[x.Path]++
	}
	version := o.versions[x.Path]
	o.mu.Unlock()

	header = Header(say.Fields)
	language, coding := "-", "-"
	for _, name := range members(header["Vary"]) {
		switch {
		case name == "Accept-Language" && x.Request.Get(name) != "":
			language = x.Request.Get(name)
		case name == "Accept-Encoding" && strings.Contains(x.Request.Get(name), "gzip"):
			coding = "gzip"
		}
	}
	etag := fmt.Sprintf(`"%s.%d.%s.%s"`, x.Path, version, language, coding)
	seconds := 10*version + len(language) + 4*len(coding) // of one representation alone
	modified := time.Date(1999, 12, 1, 0, 0, seconds, 0, time.UTC).Format(http.TimeFormat)
	// Each length is that of one representation, or a HEAD without a validator
	// would speak of any.
	whole := etag + strings.Repeat("........", version)
	if say.Status != http.StatusOK {
		whole = strconv.Itoa(say.Status) + whole
	}
	status, content = say.Status, whole

	header.Set(ExchangeField, strconv.Itoa(x.ID))
	header.Set("Date", now.Add(-say.Old).UTC().Format(http.TimeFormat))
	header.Set("Content-Type", "text/plain")
	if say.ETag && status == http.StatusOK {
		header.Set("Etag", etag)
	}
	if say.LastModified && status == http.StatusOK {
		header.Set("Last-Modified", modified)
	}
	if say.Secret && strings.Contains(header.Get(control(header)), "private=") {
		header.Set(SecretField, fmt.Sprint("step=", x.Step))
	}
	if say.Cookie {
		header.Set("Set-Cookie", fmt.Sprint("step=", x.Step))
	}
	if status == http.StatusOK && safe {
		switch matched, asked := o.matches(x.Request, say, etag, modified); {
		case matched:
			status, content = http.StatusNotModified, ""
		case asked && say.Wrong304:
			// It tells what it speaks of, or nobody could know that it is wrong.
			header.Set("Etag", etag)
			header.Set("Last-Modified", modified)
			status, content = http.StatusNotModified, ""
		default:
			if first, last, ok := part(x.Request.Get("Range"), len(whole)); ok && x.Method == http.MethodGet &&
				(x.Request.Get("If-Range") == "" || say.ETag && x.Request.Get("If-Range") == etag) {
				status, content = http.StatusPartialContent, whole[first:last+1]
				header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(whole)))
			}
		}
	}
	if status != http.StatusNotModified {
		header.Set("Content-Length", strconv.Itoa(len(content)))
	}
	at := o.Model.Now(now)
	o.Model.mu.Lock()
	defer o.Model.mu.Unlock()
	x.Answered, x.Status, x.Header, x.Content = at, status, header.Clone(), whole
	if x.Method == http.MethodHead {
		content = ""
	} else if (say.Break || say.Short) && content != "" {
		x.Broken, content = true, content[:len(content)/2]
	}
	return status, header, content
}

// Told notes that the cache has the header. Call it right after.
func (o *Origin) Told(x *Exchange, now time.Time) {
	at := o.Model.Now(now)
	o.Model.mu.Lock()
	defer o.Model.mu.Unlock()
	x.Told = at
}

// matches reports whether the request's condition says that its content is
// current, and whether it has one.
func (o *Origin) matches(request http.Header, say Say, etag, modified string) (matched, asked bool) {
	if tags := request["If-None-Match"]; len(tags) > 0 {
		for _, tag := range members(tags) {
			matched = matched || tag == "*" || say.ETag && strings.TrimPrefix(tag, "W/") == etag
		}
		return matched, true
	}
	since := request.Get("If-Modified-Since")
	return say.LastModified && since == modified, since != ""
}

// part reads the single ranges of Steps.
func part(r string, n int) (first, last int, ok bool) {
	r, ok = strings.CutPrefix(r, "bytes=")
	from, to, _ := strings.Cut(r, "-")
	switch {
	case !ok || strings.Contains(r, ","):
		return 0, 0, false
	case from == "":
		k, _ := strconv.Atoi(to)
		return max(n-k, 0), n - 1, true
	}
	first, _ = strconv.Atoi(from)
	last = n - 1
	if to != "" {
		last, _ = strconv.Atoi(to)
	}
	return first, min(last, n-1), first < n
}
