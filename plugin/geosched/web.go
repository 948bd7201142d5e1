package geosched

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
)

// web is an HTTP server on an address of its own. The socket is in the pool and so
// outlives reloads; what the handler shows is the business of those who hold it.
type web struct {
	what    string // for the log
	addr    net.Addr
	server  *http.Server
	handler http.Handler
}

// holdWeb returns the handler at addr, from the pool. If nobody listens there yet,
// it listens with the handler that handle makes: with mutual TLS if there are files
// for that, which are certificate, key and authorities.
func holdWeb[T http.Handler](p *pool, h *holder, what, addr string, files []string, handle func() T) (handler T, err error) {
	b, err := hold(p, h, strings.Join(append([]string{what, addr}, files...), "\n"), func() (*web, func(), error) {
		var secure *tls.Config
		if len(files) > 0 {
			id, err := identity.Load(files[0], files[1], files[2], slog.New(logHandler{}))
			if err != nil {
				return nil, nil, err
			}
			secure = id.Server()
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		b := &web{what: what, addr: l.Addr(), handler: handle()}
		b.server = &http.Server{
			Handler:        b.handler,
			ReadTimeout:    5 * time.Second, // of a body that nobody wants, too
			WriteTimeout:   30 * time.Second,
			IdleTimeout:    time.Minute,
			MaxHeaderBytes: 16 << 10,
		}
		scheme := "http"
		if secure != nil {
			l, scheme = tls.NewListener(l, secure), "https"
		}
		log.Infof("%s on %s://%v", what, scheme, b.addr)
		go b.run(l)
		return b, func() { b.server.Close() }, nil
	})
	if err != nil {
		return handler, err
	}
	return b.handler.(T), nil
}

func (b *web) run(l net.Listener) {
	if err := b.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		log.Errorf("%s on %v ended: %v", b.what, b.addr, err)
	}
}

// leave implements leaver.
func (b *web) leave(h *holder) {
	if l, ok := b.handler.(leaver); ok {
		l.leave(h)
	}
}
