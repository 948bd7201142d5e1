package geosched

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
)

// The map page is one document: its style and script are in it, by their hashes, and
// nothing else may be loaded. The script draws what /v1/map and /v1/explain say and
// knows no formula of its own. The outline of the land was drawn for this page: a
// line for each coast, longitude and latitude in degrees; ~ begins a lake.
//
//go:embed page
var pageFiles embed.FS

type document struct{ body, policy string }

var mapPage = sync.OnceValue(func() document {
	read := func(name string) string {
		text, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		return string(text)
	}
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	style := read("map.css")
	script := strings.Replace(read("map.js"), "LAND", "`"+strings.TrimSpace(read("land.txt"))+"`", 1)
	return document{
		body: strings.NewReplacer("STYLE", style, "SCRIPT", script).Replace(read("map.html")),
		policy: "default-src 'none'; connect-src 'self'; img-src data:; style-src " + hash(style) + "; script-src " + hash(script) +
			"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
})

func servePage(w http.ResponseWriter, r *http.Request) {
	page := mapPage()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", page.policy)
	if r.Method == http.MethodGet {
		w.Write([]byte(page.body)) // an error is the client's
	}
}
