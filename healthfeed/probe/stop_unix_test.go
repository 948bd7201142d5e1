//go:build unix

package probe

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// proberChild is the URL that the child of TestStoppedProcess asks.
const proberChild = "TANDEM_TEST_PROBER_CHILD"

// A process that is stopped while it waits for answers, and goes on much later, finds all
// its timeouts over. It says of nobody that he is down.
func TestStoppedProcess(t *testing.T) {
	if at := os.Getenv(proberChild); at != "" {
		tellVotes(t, at)
		return
	}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(150 * time.Millisecond) // so that rounds are under way at any time
	}))
	defer node.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^TestStoppedProcess$")
	child.Env = append(os.Environ(), proberChild+"="+node.URL)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { child.Process.Kill(); child.Wait() }()
	votes := make(chan string, 10_000)
	go func() {
		defer close(votes)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			votes <- lines.Text()
		}
	}()
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := child.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	for all := 0; all < 20; { // records in which everybody is up
		select {
		case line := <-votes:
			if strings.Count(line, "up") == 8 {
				all++
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the child does not come up")
		}
	}
	for range 3 {
		signal(syscall.SIGSTOP)
		time.Sleep(time.Second)
		signal(syscall.SIGCONT)
		time.Sleep(time.Second)
	}
	signal(syscall.SIGKILL)
	abstained := 0
	var last string
	for last = range votes {
		if strings.Contains(last, "down") {
			t.Errorf("voted %s", last)
		}
		abstained += strings.Count(last, "abstain")
	}
	if abstained == 0 || strings.Count(last, "up") < 4 {
		t.Errorf("%d abstentions, and at the end %s", abstained, last)
	}
}

// tellVotes prints the votes of each record of a prober whose checks forgive nothing.
func tellVotes(t *testing.T, url string) {
	checks := map[string][]healthfeed.Check{}
	for i := range 8 {
		checks[fmt.Sprint("n", i)] = []healthfeed.Check{{
			Type: "http", URL: fmt.Sprintf("%s/%d", url, i), Interval: 200 * time.Millisecond, Timeout: 900 * time.Millisecond, Fall: 1, Rise: 1, Critical: true,
		}}
	}
	f := launch(t, inventory(t, checks))
	seq := uint64(0)
	for {
		time.Sleep(5 * time.Millisecond)
		records := f.Snapshot().Records
		if len(records) == 0 || records[0].Seq == seq {
			continue
		}
		seq = records[0].Seq
		var states []string
		for _, o := range records[0].Nodes {
			states = append(states, o.State.String())
		}
		fmt.Println(seq, states)
	}
}
