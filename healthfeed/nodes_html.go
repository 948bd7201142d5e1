package healthfeed

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

// The page for browsers is one table without scripts, which asks for itself again every
// ten seconds.

//go:embed nodes.html
var nodesHTML string

var nodesTemplate = template.Must(template.New("nodes.html").Funcs(template.FuncMap{
	"percent": func(part float64) string { return fmt.Sprintf("%.0f%%", 100*part) },
	"seconds": func(ms int64) time.Duration {
		return (time.Duration(ms) * time.Millisecond).Round(100 * time.Millisecond)
	},
}).Parse(nodesHTML))

func (h *Hub) renderHTML(now time.Time) *page {
	v := h.view(now)
	var b bytes.Buffer
	err := nodesTemplate.Execute(&b, struct {
		*nodesView
		Headline string
	}{v, v.headline()})
	return &page{body: b.Bytes(), err: err}
}

// guardPage forbids a page to load, run or be framed by anything.
func guardPage(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
}
