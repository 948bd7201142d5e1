package zerocopy

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

func TestHideList(t *testing.T) {
	tests := []struct {
		name     string
		patterns []string
		file     string
		want     bool
	}{
		{"nothing-hidden", nil, "/srv/a.txt", false},
		{"name", []string{"a.txt"}, "/srv/a.txt", true},
		{"name-of-parent", []string{"srv"}, "/srv/a.txt", true},
		{"name-is-not-a-prefix", []string{"a"}, "/srv/a.txt", false},
		{"name-glob", []string{"*.txt"}, "/srv/a.txt", true},
		{"name-glob-of-parent", []string{".*"}, "/srv/.git/config", true},
		{"name-glob-other", []string{"*.md"}, "/srv/a.txt", false},
		{"path", []string{"/srv/a.txt"}, "/srv/a.txt", true},
		{"path-prefix", []string{"/srv/private"}, "/srv/private/a.txt", true},
		{"path-no-prefix", []string{"/srv/pri"}, "/srv/private/a.txt", false},
		{"path-glob", []string{"/srv/*/a.txt"}, "/srv/x/a.txt", true},
		{"path-glob-one-level", []string{"/srv/*"}, "/srv/x/a.txt", false},
		{"path-with-brackets", []string{"/srv/a[1].txt"}, "/srv/a[1].txt", true},
		{"second-pattern", []string{"*.md", "a.txt"}, "/srv/a.txt", true},
		{"placeholder", []string{"{http.vars.x}"}, "/srv/a.txt", true},
		{"malformed-name", []string{"["}, "/srv/a.txt", true},
		{"malformed-path", []string{"/srv/["}, "/srv/a.txt", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list := newHideList(tt.patterns)
			if got := list.mayHide(tt.file); got != tt.want {
				t.Errorf("mayHide(%q) with %q: got %v, want %v", tt.file, tt.patterns, got, tt.want)
			}
		})
	}
}

// FuzzHideList asks file_server whether it hides a file. What it hides, the
// list must not let pass.
func FuzzHideList(f *testing.F) {
	f.Add("a.txt", "*.md", "/srv", "/a.txt")
	f.Add("/srv/private", "/srv/*/x", "/srv", "/private/x")
	f.Add("./dir", "dir/", ".", "/dir/x")
	f.Add("a[1].txt", "/srv/a[1].txt", "/srv/", "/a[1].txt")
	f.Add("[", "/srv/[", "/srv", "/[")
	f.Add("..", "/srv/../srv/a", "/srv/../srv", "/a")
	f.Add("\\", "*", "//srv//", "/.//x")
	ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
	if err != nil {
		f.Fatal(err)
	}
	ctx.FileSystems().Register("everything", everything{})
	f.Fuzz(func(t *testing.T, pattern1, pattern2, root, path string) {
		if strings.ContainsAny(pattern1+pattern2+root, "{}") || strings.HasSuffix(path, "/") || !strings.HasPrefix(path, "/") {
			t.Skip("needs no answer: dynamic patterns and paths with a final slash are delegated")
		}
		stock := &fileserver.FileServer{FileSystem: "everything", Root: root, Hide: []string{pattern1, pattern2}}
		if err := stock.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "http://x/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		err := stock.ServeHTTP(w, r, nil)

		var answer caddyhttp.HandlerError
		if err == nil && w.Code >= 400 {
			t.Fatalf("got status %d, want the file or an error", w.Code)
		}
		hidden := errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
		list := newHideList(stock.Hide)
		filename := caddyhttp.SanitizedPathJoin(root, path)
		if hidden && !list.mayHide(filename) {
			t.Errorf("file_server hides %q with %q, mayHide does not: %v", filename, stock.Hide, err)
		}
	})
}

// everything is a file system in which every file exists.
type everything struct{}

func (everything) Open(string) (fs.File, error) {
	return fstest.MapFS{"file": &fstest.MapFile{Data: []byte("x")}}.Open("file")
}
