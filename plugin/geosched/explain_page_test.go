package geosched

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// The page loads nothing from elsewhere, and the policy it comes with lets it.
func TestPage(t *testing.T) {
	_, at := explainingAt(t, "")
	resp, err := http.Get(at + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	page, policy := string(body), resp.Header.Get("Content-Security-Policy")
	for _, tag := range []string{"style", "script"} {
		_, rest, ok := strings.Cut(page, "<"+tag+">")
		text, _, closed := strings.Cut(rest, "</"+tag+">")
		sum := sha256.Sum256([]byte(text))
		if want := tag + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !ok || !closed || !strings.Contains(policy, want) {
			t.Errorf("%s: %q does not have %s", tag, policy, want)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("got the policy %q", policy)
	}
	if m := regexp.MustCompile(`(?i)(src|href)=["']?[a-z]*:?//|https?://|@import|url\(|innerHTML`).FindString(page); m != "" {
		t.Errorf("the page has %q in it", m)
	}
	if n := len(page); n > 64<<10 {
		t.Errorf("the page has %d bytes", n)
	}
}

// The outline is of longitudes and latitudes.
func TestLand(t *testing.T) {
	text, err := pageFiles.ReadFile("page/land.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, coast, _ := strings.Cut(strings.TrimSpace(line), " ")
		points := strings.Split(coast, ",")
		if len(points) < 3 {
			t.Errorf("%s has %d points", name, len(points))
		}
		for _, p := range points {
			lon, lat, _ := strings.Cut(p, " ")
			x, err1 := strconv.ParseFloat(lon, 64)
			y, err2 := strconv.ParseFloat(lat, 64)
			if err1 != nil || err2 != nil || x < -180 || x > 180 || y < -60 || y > 84 {
				t.Errorf("%s: %q is not a place on the map", name, p)
			}
		}
	}
}

// What a browser makes of the page.
func TestPageInBrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium, which it takes to run a page")
	}
	g, at := explainingAt(t, "geoip "+cityDB(t, map[string][2]float64{
		"81.2.69.0/24": {51.5, -0.1}, "216.160.0.0/16": {47.2, -122.2}, "175.16.0.0/16": {43.9, 125.3},
	}))
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Draining, "pek": healthfeed.Up})
	var w worldMap
	fetch(t, at+"/v1/map?down=lon", 200, &w)
	look := func(page string) string {
		t.Helper()
		ctx := t.Context()
		cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
			"--virtual-time-budget=3000", "--dump-dom", page)
		cmd.WaitDelay = time.Minute
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	dom := look(at + "/")
	for _, want := range []string{
		`3 nodes, policy default, table ` + strconv.FormatUint(w.Generation, 10) + `, fresh</p>`,
		`<option>*.img.cdn.example.</option>`,
		`aria-label="What if lon dies"`,
		`data-pin="pek" data-state="up"`, `data-pin="sea" data-state="draining"`,
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	key := ""
	for i := range w.Classes.Placed {
		if w.Classes.Lat[i] > 51 && w.Classes.Lat[i] < 52 {
			key = w.Classes.Key[i]
		}
	}
	dom = look(at + "/#down=lon&class=" + key)
	for _, want := range []string{
		`data-pin="lon" data-state="down"`, `aria-pressed="true"`, `>revive<`,
		` would move: `, ` to pek`,
		`<p class="pick">pek</p>`, `: nearest, TTL 60 s, degraded</p>`, `<td>draining</td>`,
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page without London lacks %s", want)
		}
	}
	// The question in the URL is asked with all that is in it.
	dom = look(at + "/#name=a.img.cdn.example&type=AAAA&policy=default&alpha=0.25&beta=1&near=40")
	for _, want := range []string{`<output id="alpha-is">0.25</output>`, `<output id="beta-is">1</output>`, `<output id="near-is">40</output>`, `No class would move.`} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page of a question lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(regexp.MustCompile(`(?s)<script>.*</script>|<style>.*</style>`).ReplaceAllString(dom, ""))
	}
}
