package edgecache

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// provisioned returns the HTTP app of a Caddyfile, ready but not started.
func provisioned(t *testing.T, text string) *caddyhttp.App {
	t.Helper()
	options := "admin off\nauto_https off\nlog {\noutput discard\n}\n"
	if rest, ok := strings.CutPrefix(text, "{\n"); ok {
		text = "{\n" + options + rest
	} else {
		text = "{\n" + options + "}\n" + text
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := new(caddy.Config)
	if err := json.Unmarshal(adapted, cfg); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(cfg)
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := ctx.App("edgecache")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.(*App).Cleanup() })
	return app.(*caddyhttp.App)
}

// waf is a handler of another project.
type waf struct{}

func init() {
	caddy.RegisterModule(waf{})
	httpcaddyfile.RegisterHandlerDirective("test_waf", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return waf{}, nil
	})
}

func (waf) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.waf", New: func() caddy.Module { return new(waf) }}
}

func (waf) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

const basicAuth = "basic_auth {\nbob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}"

func TestScan(t *testing.T) {
	for _, tc := range []struct {
		name, site string
		want       string // directive, and "order" if that mends it
	}{
		{"one-line", "edgecache\nreverse_proxy a:1", ""},
		{"health-page", "edgecache\nrespond /healthz ok 200\nreverse_proxy a:1", ""},
		{"path-is-in-the-key", "edgecache\nrespond /admin/* 403\nerror /old 410\nreverse_proxy a:1", ""},
		{"everything-answered", "edgecache\nrespond ok", ""},
		{"handle-by-path", "edgecache\nhandle /api/* {\nreverse_proxy a:1\n}\nhandle {\nrespond 404\n}", ""},
		{"respond-by-address", "@out not remote_ip 10.0.0.0/8\nedgecache\nrespond @out 403\nreverse_proxy a:1", "respond order"},
		{"abort-by-agent", "@bot header User-Agent *bot*\nedgecache\nabort @bot\nreverse_proxy a:1", "abort order"},
		{"error-by-expression", "@x expression `{client_ip} == \"192.0.2.1\"`\nedgecache\nerror @x 403\nreverse_proxy a:1", "error order"},
		{"respond-in-the-key", "@bot header X-Device bot\nedgecache {\nkey {\nheader x-device\n}\n}\nrespond @bot 403\nreverse_proxy a:1", ""},
		{"respond-by-ignored-query", "@q query token=\nedgecache {\nkey {\nquery ignore utm_*\n}\n}\nrespond @q 403\nreverse_proxy a:1", "respond order"},
		{"respond-by-query", "@q not query token=x\nedgecache\nrespond @q 403\nreverse_proxy a:1", ""},
		{"deny-in-handle", "@out remote_ip 192.0.2.0/24\nedgecache\nhandle @out {\nrespond 403\n}\nhandle {\nreverse_proxy a:1\n}", "respond"},
		{"deny-by-default", "@in remote_ip 10.0.0.0/8\nedgecache\nhandle @in {\nreverse_proxy a:1\n}\nhandle {\nrespond 403\n}", "respond"},
		{"cache-in-its-own-handle", "@in remote_ip 10.0.0.0/8\nhandle @in {\nedgecache\nreverse_proxy a:1\n}\nhandle {\nrespond 403\n}", ""},
		{"rule-first-in-route", "@out remote_ip 192.0.2.0/24\nroute {\nrespond @out 403\nedgecache\nreverse_proxy a:1\n}", ""},
		{"rule-second-in-route", "@out remote_ip 192.0.2.0/24\nroute {\nedgecache\nrespond @out 403\nreverse_proxy a:1\n}", "respond order"},
		{"cache-in-a-guarded-route", "@in remote_ip 10.0.0.0/8\nroute @in {\nedgecache\nreverse_proxy a:1\nrespond 403\n}", ""},
		{"two-matchers", "@a remote_ip 192.0.2.1\n@b path /x\nedgecache\nhandle @b {\nrespond @a 403\nreverse_proxy a:1\n}", "respond"},
		{"basic-auth-in-order", "edgecache\n" + basicAuth + "\nreverse_proxy a:1", ""},
		{"basic-auth-too-late", "route {\nedgecache\n" + basicAuth + "\nreverse_proxy a:1\n}", "basic_auth"},
		{"basic-auth-in-handle", "edgecache\nhandle /admin/* {\n" + basicAuth + "\nreverse_proxy a:1\n}", "basic_auth"},
		{"forward-auth-in-order", "edgecache\nforward_auth a:2 {\nuri /check\n}\nreverse_proxy a:1", ""},
		{"forward-auth-too-late", "route {\nedgecache\nforward_auth a:2 {\nuri /check\n}\nreverse_proxy a:1\n}", "forward_auth"},
		{"redirection-in-route", "@phone header User-Agent *Phone*\nroute {\nedgecache\nredir @phone https://m.example\nreverse_proxy a:1\n}", "redir order"},
		{"redirection-of-a-path", "edgecache\nredir /old /new\nreverse_proxy a:1", ""},
		{"two-origins-by-address", "@in remote_ip 10.0.0.0/8\nedgecache\nreverse_proxy @in a:1\nreverse_proxy a:2", "reverse_proxy"},
		{"two-origins-by-cookie", "@beta header_regexp Cookie beta=1\nedgecache\nhandle @beta {\nreverse_proxy a:1\n}\nhandle {\nreverse_proxy a:2\n}", "reverse_proxy reverse_proxy"},
		{"two-origins-by-a-key-field", "@beta header X-Beta 1\nedgecache {\nkey {\nheader X-Beta\n}\n}\nreverse_proxy @beta a:1\nreverse_proxy a:2", ""},
		{"two-origins-by-path", "edgecache\nreverse_proxy /api/* a:1\nreverse_proxy a:2", ""},
		{"rule-and-choice", "@out remote_ip 192.0.2.1\n@phone header User-Agent *Phone*\nedgecache\nrespond @out 403\nreverse_proxy @phone a:1\nreverse_proxy a:2", "respond order reverse_proxy"},
		{"rule-and-upstream", "@out remote_ip 192.0.2.1\nedgecache\nrespond @out 403\nreverse_proxy {header.X-Up}:80", "respond order reverse_proxy"},
		{"cache-in-each-branch", "@in remote_ip 10.0.0.0/8\nhandle @in {\nedgecache\nreverse_proxy a:1\n}\nhandle {\nedgecache\nreverse_proxy a:2\n}", "store store"},
		{"cache-deep-in-each-branch", "@in remote_ip 10.0.0.0/8\nhandle @in {\nroute {\nedgecache\nreverse_proxy a:1\n}\n}\nhandle {\nhandle /a* {\nedgecache\nreverse_proxy a:2\n}\n}", "store store"},
		{"store-for-each-branch", "@in remote_ip 10.0.0.0/8\nhandle @in {\nedgecache {\nstore other\n}\nreverse_proxy a:1\n}\nhandle {\nedgecache\nreverse_proxy a:2\n}", ""},
		{"cache-in-each-branch-by-path", "handle /a/* {\nedgecache\nreverse_proxy a:1\n}\nhandle {\nedgecache\nreverse_proxy a:2\n}", ""},
		{"two-caches-in-one-branch", "@in remote_ip 10.0.0.0/8\nhandle @in {\nedgecache /a/*\nedgecache /b/*\nreverse_proxy a:1\n}\nhandle {\nrespond 403\n}", ""},
		{"files-by-field", "@webp header Accept *image/webp*\nroute {\nedgecache\nrewrite @webp {path}.webp\nfile_server\n}", "rewrite"},
		{"files-for-staff", "@staff remote_ip 10.0.0.0/8\nedgecache\nfile_server @staff\nrespond 404", "file_server"},
		{"rewrite-in-order", "@webp header Accept *image/webp*\nrewrite @webp {path}.webp\nedgecache\nfile_server", ""},
		{"websocket", "@ws {\nheader Connection *Upgrade*\nheader Upgrade websocket\n}\nedgecache\nreverse_proxy @ws a:1\nreverse_proxy a:2", ""},
		{"php", "root * /srv\nedgecache\nphp_fastcgi a:1\nfile_server", ""},
		{"single-page-application", "root * /srv\nedgecache\ntry_files {path} /index.html\nfile_server", ""},
		{"handle-path", "edgecache\nhandle_path /app/* {\nreverse_proxy a:1\n}\nreverse_proxy a:2", ""},
		{"post-elsewhere", "@post method POST\nedgecache\nrespond @post 405\nreverse_proxy a:1", ""},
		{"maintenance", "edgecache\n@down file /maintenance\nrespond @down 503\nreverse_proxy a:1", ""},
		{"rule-in-a-snippet", "edgecache\nimport deny\nreverse_proxy a:1", "respond order"},
		{"rule-by-method-and-address", "@x {\nmethod GET\nnot remote_ip 10.0.0.0/8\n}\nedgecache\nrespond @x 403\nreverse_proxy a:1", "respond order"},
		{"rule-before-by-nesting", "@x not remote_ip 10.0.0.0/8\nroute {\nroute {\nrespond @x 403\n}\nedgecache\nreverse_proxy a:1\n}", ""},
		{"cache-deep-rule-behind", "@x not remote_ip 10.0.0.0/8\nroute {\nroute {\nedgecache\n}\nabort @x\nreverse_proxy a:1\n}", "abort order"},
		{"rule-for-error-pages", "edgecache\nreverse_proxy a:1\nhandle_errors {\n@x remote_ip 10.0.0.0/8\nrespond @x err\n}", ""},
		{"matcher-of-the-cache", "@in remote_ip 10.0.0.0/8\nedgecache @in\nreverse_proxy @in a:1\nrespond 403", ""},
		{"expression-of-the-path", "@a expression `{path}.startsWith('/x') && method('GET')`\nedgecache\nrespond @a 403\nreverse_proxy a:1", ""},
		{"expression-of-a-field", "@a expression `{path}.startsWith('/x') && {header.X-A} == '1'`\nedgecache\nrespond @a 403\nreverse_proxy a:1", "respond order"},
		{"expression-of-an-address", "@a expression `remote_ip('10.0.0.0/8')`\nedgecache\nrespond @a 403\nreverse_proxy a:1", "respond order"},
		{"bypassed", "@in remote_ip 10.0.0.0/8\nedgecache {\nbypass @in /x\n}\nhandle @in {\nreverse_proxy a:1\n}\nhandle {\nreverse_proxy a:2\n}", ""},
		{"bypassed-else", "@in remote_ip 10.0.0.0/8\n@out remote_ip 192.0.2.1\nedgecache {\nbypass @in\n}\nreverse_proxy @out a:1\nreverse_proxy a:2", "reverse_proxy"},
		{"cookies-bypassed", "@in header Cookie *x*\nedgecache {\ncookies bypass\n}\nreverse_proxy @in a:1\nreverse_proxy a:2", ""},
		{"credentials-bypassed", "@in header Authorization *\nedgecache {\nauthenticated bypass\n}\nreverse_proxy @in a:1\nreverse_proxy a:2", ""},
		{"credentials", "@out header !Authorization\nedgecache\nrespond @out 401\nreverse_proxy a:1", "respond order"},
		{"grpc", "@grpc protocol grpc\nedgecache\nreverse_proxy @grpc a:1\nreverse_proxy a:2", ""},
		{"upstream-by-field", "edgecache\nreverse_proxy {header.X-Backend}:80", "reverse_proxy"},
		{"upstream-by-map", "map {header.X-Tenant} {backend} {\na a\ndefault b\n}\nedgecache\nreverse_proxy {backend}:80", "reverse_proxy"},
		{"upstream-by-host", "edgecache\nreverse_proxy {labels.1}:80", ""},
		{"upstream-by-environment", "edgecache\nreverse_proxy {env.BACKEND}:80", ""},
		{"waf-behind", "route {\nedgecache\ntest_waf\nreverse_proxy a:1\n}", "waf order"},
		{"waf-in-front", "route {\ntest_waf\nedgecache\nreverse_proxy a:1\n}", ""},
		{"encode-in-order", "encode\nedgecache\nreverse_proxy a:1", ""},
		{"encode-first", "route {\nencode\nedgecache\nreverse_proxy a:1\n}", "encode"},
	} {
		app := provisioned(t, "{\nedgecache {\nstore other\n}\n}\n(deny) {\n@out not remote_ip 10.0.0.0/8\nrespond @out 403\n}\nhttp://localhost:1234 {\n"+tc.site+"\n}")
		var got []string
		for _, f := range scanRoutes(app) {
			what := f.what
			if strings.Contains(f.text, "`order "+f.what+" before edgecache`") {
				what += " order"
			}
			got = append(got, what)
			if !strings.HasPrefix(f.at, "apps/http/servers/srv0/routes/0/handle/0/routes/") {
				t.Errorf("%s: at %s", tc.name, f.at)
			}
		}
		if fmt.Sprint(got) != "["+tc.want+"]" {
			t.Errorf("%s: got %v, want %s", tc.name, got, tc.want)
		}
	}
}

// Named routes that invoke each other end.
func TestScanOfInvokedRoutes(t *testing.T) {
	app := provisioned(t, `
&(guarded) {
	@out remote_ip 192.0.2.0/24
	respond @out 403
	invoke loop
}
&(loop) {
	invoke guarded
}
http://localhost:1234 {
	edgecache
	invoke guarded
}`)
	if found := scanRoutes(app); len(found) == 0 || found[0].what != "respond" {
		t.Errorf("found %v", found)
	}
}

// Without host in the key a store is for one site.
func TestScanOfKeysWithoutHost(t *testing.T) {
	const key = " {\nedgecache {\nkey {\nscheme path query\n}\nstore %s\n}\n}\n"
	for name, tc := range map[string]struct {
		text string
		want int
	}{
		"two-sites":      {fmt.Sprintf("http://a.example"+key+"http://b.example"+key, "default", "default"), 2},
		"two-stores":     {fmt.Sprintf("http://a.example"+key+"http://b.example"+key, "default", "other"), 0},
		"two-ports":      {fmt.Sprintf("http://:8001"+key+"http://:8002"+key, "default", "default"), 2},
		"two-hosts":      {fmt.Sprintf("http://a.example http://b.example"+key, "default"), 0},
		"the-other-has":  {fmt.Sprintf("http://a.example"+key, "default") + "http://b.example {\nedgecache\n}", 0},
		"two-in-a-route": {"http://a.example {\n" + strings.Repeat("route /x {\nedgecache {\nkey {\nscheme path\n}\n}\n}\n", 2) + "}", 0},
	} {
		found := scanRoutes(provisioned(t, "{\nedgecache {\nstore other\n}\n}\n"+tc.text))
		if len(found) != tc.want {
			t.Errorf("%s: found %v", name, found)
		}
	}
}

// What a mend says mends: the rule is in front then, also for what is stored.
// And each warning is logged once.
func TestScanIsLogged(t *testing.T) {
	e := newEdge(t, site, echoed)
	rules := strings.Replace(site, "edgecache", "@out header X-Out *\nedgecache {\nset_cookie store\n}\nrespond @out 403", 1)
	log := filepath.Join(t.TempDir(), "log")
	load := func(options string) string {
		t.Helper()
		text := fmt.Sprintf("{\nadmin off\npersist_config off\n%s\nservers {\nprotocols h1 h2c\n}\nlog {\noutput file %s\nlevel WARN\n}\n}\n%s",
			options, log, fmt.Sprintf(rules, e.addr, e.originAddr()))
		if err := loadCaddyfile(text); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(log, 0); err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	text := load("")
	if n := strings.Count(text, "order respond before edgecache"); n != 1 || !strings.Contains(text, "apps/http/servers/srv0/routes/0/handle/0/routes/1/handle/0") {
		t.Errorf("logged %d times in\n%s", n, text)
	}
	if n := strings.Count(text, "set_cookie store"); n != 1 {
		t.Errorf("set_cookie logged %d times in\n%s", n, text)
	}
	e.get("/")
	stored(t, 1)
	if r := e.get("/", "X-Out", "1"); r.status != 200 {
		t.Errorf("status %d: the flaw is gone, and so is the reason for the warning", r.status)
	}
	if text := load("order respond before edgecache"); strings.Contains(text, "go round") {
		t.Error(text)
	}
	if r := e.get("/", "X-Out", "1"); r.status != 403 {
		t.Errorf("status %d after the mend", r.status)
	}
}

func TestDangers(t *testing.T) {
	for options, want := range map[string]int{
		"": 0, "set_cookie store": 1, "set_cookie strip": 0, "override_ttl 1h": 1, "preset conformance": 1, "preset nginx": 0,
		"client_cache_control honor": 1, "client_cache_control trusted": 0, "vary_ignore cookie Accept-Encoding User-Agent": 2,
		"key {\nscheme path\n}": 1, "key {\nhost path query\n}": 1, "authenticated ignore": 0,
	} {
		app := provisioned(t, "http://localhost:1234 {\nedgecache {\n"+options+"\n}\n}")
		route := app.Servers["srv0"].Routes[0].Handlers[0].(*caddyhttp.Subroute).Routes[0]
		if got := route.Handlers[0].(*Handler).dangers(); len(got) != want {
			t.Errorf("%s: %v", options, got)
		}
	}
}
