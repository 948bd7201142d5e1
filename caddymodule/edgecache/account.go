package edgecache

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// account is what the cache has to say about one request, for the metrics,
// the access log, the placeholders and the span. It is made once, and only
// who asks has it spelled out.
type account struct {
	result result
	key    string            // of the cache; empty if the cache keeps out of it
	stored *httpcache.Stored // what answers the request; nil if it is neither stored nor shared
	now    time.Time         // when it did
}

// count accounts for a request. Call it once, before the header is sent.
func (h *Handler) count(r *http.Request, a account) {
	h.metrics.byResult[a.result].Inc()
	if a.result == resultHit || a.result == resultHitStale {
		h.metrics.hits.Inc()
	}
	ctx := r.Context()
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(func(name string) (any, bool) { return a.placeholder(name) })
	}
	// Fields cost even if nobody writes them.
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server != nil && server.Logs != nil {
		if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
			extra.Add(zap.Inline(a))
		}
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(a.attributes()...)
	}
}

// placeholder finds the value of a placeholder of this package. What the
// account does not know is empty.
func (a account) placeholder(name string) (any, bool) {
	name, ours := strings.CutPrefix(name, "http.edgecache.")
	if !ours {
		return nil, false
	}
	switch name {
	case "status":
		return string(a.result), true
	case "key_hash":
		return a.keyHash(), true
	case "age":
		if a.stored == nil {
			return "", true
		}
		return a.age(), true
	case "ttl":
		if a.stored == nil {
			return "", true
		}
		return a.ttl(), true
	}
	return nil, false
}

// MarshalLogObject writes the fields for the access log.
func (a account) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("cache_result", string(a.result))
	if a.key != "" {
		enc.AddString("cache_key_hash", a.keyHash())
	}
	if a.stored != nil {
		enc.AddInt64("cache_age", a.age())
		enc.AddInt64("cache_ttl", a.ttl())
	}
	enc.AddBool("collapsed", a.result == resultCollapsed)
	return nil
}

// attributes are what the span of the request gets.
func (a account) attributes() []attribute.KeyValue {
	of := []attribute.KeyValue{attribute.String("edgecache.result", string(a.result))}
	if a.key != "" {
		of = append(of, attribute.String("edgecache.key_hash", a.keyHash()))
	}
	if a.stored != nil {
		of = append(of, attribute.Int64("edgecache.age", a.age()), attribute.Int64("edgecache.ttl", a.ttl()))
	}
	return of
}

func (a account) age() int64 { return int64(a.stored.Age(a.now) / time.Second) }

// ttl is what Cache-Status says: rounded down, so that what has just become
// stale has -1 and not 0.
func (a account) ttl() int64 { return httpcache.FloorSeconds(a.stored.TTL(a.now)) }

func (a account) keyHash() string {
	if a.key == "" {
		return ""
	}
	return keyHash(a.key)
}

// keyHash is a name for a key that tells nothing of what is in it, the same
// on every node: 16 hexadecimal digits.
func keyHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}
