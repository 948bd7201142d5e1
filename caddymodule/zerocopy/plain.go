package zerocopy

import (
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// outcome says who answered a request.
type outcome int

const (
	delegated outcome = iota // nothing was written yet: the embedded file server answers
	served                   // a file was found here, and the response was written
	notFound                 // no such file: a 404 error, or whatever follows pass_thru
)

func (o outcome) String() string {
	switch o {
	case served:
		return "served"
	case notFound:
		return "not_found"
	default:
		return "delegated"
	}
}

// serveFile answers w if r asks for a plain file: a GET or HEAD, outside error
// routes, of a regular file of the local file system that no option of
// file_server treats specially. On the outcome delegated it has written
// nothing, neither field nor body, so that the embedded handler starts fresh.
//
// The file is opened once and never looked up before. http.ServeContent then
// evaluates conditions (RFC 9110 section 13) and ranges (section 14), as it
// does for file_server, against the size and time of that one open file.
func (h *Handler) serveFile(w *bodyWriter, r *http.Request, next caddyhttp.Handler) (outcome, error) {
	if !h.plain(r) {
		return delegated, nil
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	fileSystem, ok := h.fileSystems.Get(repl.ReplaceAll(h.FileSystem, ""))
	if !ok || fileSystem != h.fileSystems.Default() {
		return delegated, nil
	}
	filename := caddyhttp.SanitizedPathJoin(repl.ReplaceAll(h.Root, "."), r.URL.Path)
	if h.hide.mayHide(filename) {
		return delegated, nil
	}

	opened, err := fileSystem.Open(filename)
	if errors.Is(err, fs.ErrNotExist) {
		if h.PassThru {
			return notFound, next.ServeHTTP(w.Unwrap(), r)
		}
		return notFound, caddyhttp.Error(http.StatusNotFound, nil)
	}
	if err != nil {
		return delegated, nil
	}
	defer opened.Close()
	file, ok := opened.(*os.File)
	if !ok {
		return delegated, nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return delegated, nil
	}

	setFields(w.Header(), filename, info)
	// A section has the size of the moment it was opened, whatever happens to
	// the file meanwhile. It must be the size the entity tag was made of.
	http.ServeContent(w, r, "", lastModified(info), io.NewSectionReader(file, 0, info.Size()))
	return served, nil
}

// plain reports whether nothing but the file itself decides the response.
// When in doubt it says no: the embedded handler knows all the rules.
func (h *Handler) plain(r *http.Request) bool {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return false
	case h.StatusCode != "" || h.EtagFileExtensions != nil:
		return false
	case h.siblings && r.Header.Get("Accept-Encoding") != "":
		return false
	case runtime.GOOS == "windows": // alternate streams and short names need their own checks
		return false
	case r.Context().Value(caddyhttp.ErrorCtxKey) != nil:
		return false
	}
	// A path that ends in a slash is a directory, or needs a redirect. So does
	// one that ended in a slash before it was rewritten.
	original := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	return !strings.HasSuffix(r.URL.Path, "/") && r.URL.Path != "" &&
		!strings.HasSuffix(original.URL.Path, "/")
}

// setFields sets the fields that file_server sets before http.ServeContent
// adds its own (Last-Modified, Accept-Ranges, Content-Length, Content-Range).
// An Etag or Content-Type that is already there was set by the operator and
// stays.
func setFields(header http.Header, filename string, info fs.FileInfo) {
	header.Add("Vary", "Accept-Encoding")
	if etag := header.Get("Etag"); etag != "" {
		header.Set("Etag", etag)
	} else if etag := entityTag(info); etag != "" {
		header.Set("Etag", etag)
	}
	if header.Get("Content-Type") == "" {
		if contentType := mime.TypeByExtension(filepath.Ext(filename)); contentType != "" {
			header.Set("Content-Type", contentType)
		} else {
			header["Content-Type"] = nil // present but empty: nobody below sniffs one
		}
	}
}

// entityTag returns the strong validator of a file (RFC 9110 section 8.8.3):
// modification time in nanoseconds and size, each in base 36. It equals
// file_server's, so that what clients have stored stays valid when one handler
// replaces the other. It is empty if the time means nothing.
func entityTag(info fs.FileInfo) string {
	modTime := info.ModTime()
	if !meaningful(modTime) {
		return ""
	}
	buf := make([]byte, 0, 32)
	buf = append(buf, '"')
	buf = strconv.AppendInt(buf, modTime.UnixNano(), 36)
	buf = append(buf, '-')
	buf = strconv.AppendInt(buf, info.Size(), 36)
	buf = append(buf, '"')
	return string(buf)
}

// lastModified returns the time for the Last-Modified field, or the zero time,
// for which http.ServeContent sends none.
func lastModified(info fs.FileInfo) time.Time {
	if modTime := info.ModTime(); meaningful(modTime) {
		return modTime
	}
	return time.Time{}
}

// meaningful reports whether a modification time says anything about the
// content. Image and package builders write Unix time 0 or 1 everywhere.
func meaningful(modTime time.Time) bool {
	seconds := modTime.Unix()
	return seconds != 0 && seconds != 1
}
