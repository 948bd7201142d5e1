package httpcache

import (
	"net/http"
	"path"
	"slices"
	"strings"
)

// deceptionSafe reports whether a response without a lifetime of its own may
// be given one. It may not if somebody could have been led to the URL so that
// a page of theirs, answered under what looks like the name of a static file,
// ends up here for everybody ("web cache deception"):
//
//   - The path has nothing in it that origin servers cut names at or decode
//     into something else: ";", "\", encoded delimiters, dots or controls.
//   - Where the last segment has the extension of a kind of file, content of
//     a 2xx response is of that kind. A page under /account/x.css is not.
//   - A request with something that is not in the key and may tell who asks,
//     a cookie or the token of an API, gets a lifetime only for content that
//     says by both that it is no page.
//
// req has the target as the client named it.
func (p *Policy) deceptionSafe(req *http.Request, status int, header http.Header) bool {
	if req.URL == nil || ambiguous(req.URL.EscapedPath()) {
		return false
	}
	kind, known := kindOf[strings.ToLower(path.Ext(req.URL.Path))]
	if p.unkeyedCookies(req.Header) || p.unkeyedSecrets(req.Header) {
		return known && kind != page && kind != data && kind.has(header)
	}
	return !known || status >= 300 || kind.has(header)
}

// unkeyedSecrets reports whether a field outside the key looks like one in
// which an API takes credentials, such as X-Api-Key, Private-Token or
// X-Session-Id.
func (p *Policy) unkeyedSecrets(header http.Header) bool {
	for name := range header {
		lower := strings.ToLower(name)
		for _, part := range [...]string{"auth", "token", "session", "secret", "api-key", "apikey"} {
			if strings.Contains(lower, part) && !slices.Contains(p.Key.Headers, name) {
				return true
			}
		}
	}
	return false
}

// ambiguous reports whether servers may disagree about where the path ends.
func ambiguous(escaped string) bool {
	for i := 0; i < len(escaped); i++ {
		switch escaped[i] {
		case ';', '\\':
			return true
		case '%':
			if i+2 >= len(escaped) {
				return true
			}
			switch c := unhex(escaped[i+1])<<4 | unhex(escaped[i+2]); {
			case c < ' ', c == 0x7f, strings.IndexByte(`/\?#;%.&`, c) >= 0:
				return true
			}
			i += 2
		}
	}
	return false
}

// unhex is the value of a hexadecimal digit; EscapedPath has no others behind
// a "%".
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20 - 'a') + 10
}

// kind is what a file name's extension says about its content.
type kind uint8

const (
	page kind = iota
	data
	text
	style
	script
	image
	font
	media
	archive
)

// has reports whether the Content-Type is one of that kind.
func (k kind) has(header http.Header) bool {
	lines := header["Content-Type"]
	if len(lines) != 1 {
		return false
	}
	mediaType, _, _ := strings.Cut(lines[0], ";")
	mediaType = strings.ToLower(trimOWS(mediaType))
	for _, prefix := range mediaTypes[k] {
		if strings.HasPrefix(mediaType, prefix) {
			return true
		}
	}
	return false
}

// mediaTypes are the beginnings of the media types of each kind.
var mediaTypes = [...][]string{
	page:    {"text/html", "application/xhtml+xml"},
	data:    {"application/json", "application/ld+json", "application/manifest+json", "application/xml", "text/xml", "text/csv", "application/rss+xml", "application/atom+xml"},
	text:    {"text/plain", "text/markdown"},
	style:   {"text/css"},
	script:  {"text/javascript", "application/javascript", "application/x-javascript", "application/ecmascript"},
	image:   {"image/"},
	font:    {"font/", "application/font-", "application/x-font-", "application/vnd.ms-fontobject"},
	media:   {"audio/", "video/", "application/ogg", "application/vnd.apple.mpegurl", "application/x-mpegurl", "application/dash+xml"},
	archive: {"application/octet-stream", "application/pdf", "application/wasm", "application/zip", "application/gzip", "application/zstd", "application/x-", "application/vnd.", "application/java-archive"},
}

var kindOf = map[string]kind{
	".html": page, ".htm": page, ".xhtml": page,
	".json": data, ".map": data, ".xml": data, ".csv": data, ".rss": data, ".atom": data, ".webmanifest": data,
	".txt": text, ".md": text,
	".css": style, ".js": script, ".mjs": script,
	".png": image, ".jpg": image, ".jpeg": image, ".gif": image, ".webp": image, ".avif": image, ".svg": image, ".ico": image, ".bmp": image, ".tif": image, ".tiff": image,
	".woff": font, ".woff2": font, ".ttf": font, ".otf": font, ".eot": font,
	".mp3": media, ".ogg": media, ".wav": media, ".flac": media, ".m4a": media, ".mp4": media, ".m4v": media, ".m4s": media, ".webm": media, ".ogv": media, ".mov": media, ".ts": media, ".m3u8": media, ".mpd": media,
	".pdf": archive, ".wasm": archive, ".zip": archive, ".gz": archive, ".tgz": archive, ".xz": archive, ".bz2": archive, ".zst": archive, ".7z": archive, ".bin": archive, ".iso": archive, ".dmg": archive, ".exe": archive, ".apk": archive, ".deb": archive, ".rpm": archive, ".jar": archive,
}
