// Package hello is somebody else's Caddy plugin.
package hello

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(new(Hello)) }

// Hello greets.
type Hello struct{}

// CaddyModule implements [caddy.Module].
func (*Hello) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.hello", New: func() caddy.Module { return new(Hello) }}
}

func (*Hello) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	_, err := io.WriteString(w, "hello")
	return err
}
