// Package leaktest finds goroutines that the tests of a package have left behind:
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
//
// It is one look, after all tests, at whatever still runs. So it finds what no single test
// could tell from the work of its neighbours, and needs no word in any of them.
package leaktest

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long goroutines have to end that were told to.
const patience = 10 * time.Second

// Main runs the tests of a package and exits, with 1 if goroutines are left.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // what tests ask by http.Get
		if left := wait(patience); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d goroutines are left behind:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// wait returns the goroutines that are left after a while, or none as soon as none is.
func wait(most time.Duration) (left []string) {
	for end := time.Now().Add(most); ; time.Sleep(10 * time.Millisecond) {
		if left = Left(); len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// Left returns the stacks of all goroutines but the caller's own and those that a
// program has anyway.
func Left() (left []string) {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for _, stack := range strings.Split(strings.TrimSpace(string(all)), "\n\n")[1:] {
		if !strings.Contains(stack, "created by os/signal.") && !strings.Contains(stack, "testing.(*M).startAlarm") {
			left = append(left, stack)
		}
	}
	return left
}
