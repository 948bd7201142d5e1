//go:build unix

package geosched

import (
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cdn/tandem/internal/geoip"
)

// What was read while a file was written is not used: half of a list of networks is
// as good a list as all of it.
func TestAtlasFilesChangeWhileLoaded(t *testing.T) {
	dir := t.TempDir()
	nets, resolvers := filepath.Join(dir, "nets"), filepath.Join(dir, "resolvers")
	write(t, nets, "81.2.69.0/24 at 51 0\n")
	write(t, resolvers, "")
	a, err := openAtlas(geoip.Config{Nets: nets, Resolvers: resolvers})
	if err != nil {
		t.Fatal(err)
	}
	was, refused := a.Trie(), testutil.ToFloat64(reloads.WithLabelValues("refused"))

	// The resolvers are read last, and here when the test says so.
	if err := os.Remove(resolvers); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(resolvers, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, nets, "")
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.reload()
	}()
	pipe, err := os.OpenFile(resolvers, os.O_WRONLY, 0) // waits for who reads it
	if err != nil {
		t.Fatal(err)
	}
	write(t, nets, "81.2.69.0/24 at 52 0\n")
	if err := os.Remove(resolvers); err != nil {
		t.Fatal(err)
	}
	write(t, resolvers, "9.9.9.9/32 at 1 2\n")
	pipe.Close()
	<-done
	if a.Trie() != was {
		t.Errorf("latitude %v of half a file", latitude(a))
	}
	if n := testutil.ToFloat64(reloads.WithLabelValues("refused")) - refused; n != 0 {
		t.Errorf("refused %v times what will soon be right", n)
	}
	a.reload()
	if c := a.Trie().Resolver(netip.MustParseAddr("9.9.9.9")); latitude(a) != 52 || c.Point.Lat() != 1 {
		t.Errorf("latitudes %v and %v, want those of the new files", latitude(a), c.Point.Lat())
	}
}
