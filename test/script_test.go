package test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tandem-cdn/tandem/internal/freeport"
)

// TestScripts runs testdata/script/*.txtar. Beside the commands of testscript
// the scripts have caddy and coredns on their PATH, and:
//
//	ports NAME...                    sets each variable to a free port of 127.0.0.1
//	expand FILE...                   replaces $NAME in files by variables
//	example FILE                     copies a file from the root of the checkout
//	origin PORT                      serves pages on 127.0.0.1:PORT until the script ends
//	mmdb FILE                        writes a small City database
//	reload                           sends SIGUSR1 to what runs in the background
//	truncate FILE BYTES              cuts a file off, or fills it up with zeros
//	pause DURATION                   waits
//	grpc-health PORT SERVICE STATE   has a gRPC server there say that it is serving, or not-serving
//	dig [-until RE] @ADDR [CH] NAME TYPE [+subnet=PREFIX]
//	get [-until RE] [-H 'K: V']... URL
//
// With -until the command is repeated until its output matches.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Values[grpcHealthKey{}] = grpcHealth{}
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_DATA_HOME", filepath.Join(e.WorkDir, ".data"))
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, ".config"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "loopbacks" { // 127.0.0.11 and its like exist
				return runtime.GOOS == "linux", nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ports":    ports,
			"expand":   expand,
			"example":  example,
			"origin":   origin,
			"mmdb":     mmdb,
			"reload":   reload,
			"truncate": truncate,
			"pause":    pause,

			"grpc-health": healthOf,

			"dig": func(ts *testscript.TestScript, neg bool, args []string) { ask(ts, neg, args, dig) },
			"get": func(ts *testscript.TestScript, neg bool, args []string) { ask(ts, neg, args, get) },
		},
	})
}

func ports(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		port, err := freeport.On(freeport.Loopback)
		ts.Check(err)
		ts.Setenv(name, strconv.Itoa(int(port)))
	}
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o644))
	}
}

func example(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(copyFile(ts.MkAbs(args[0]), args[0]))
}

// origin serves any path for a minute's keeping, /private and /vary by their
// names, and takes 2 s for what begins with /slow. Every answer carries the number
// of requests so far.
func origin(ts *testscript.TestScript, neg bool, args []string) {
	var served atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := served.Add(1)
		if strings.HasPrefix(r.URL.Path, "/slow") {
			time.Sleep(2 * time.Second)
		}
		switch r.URL.Path {
		case "/private", "/slow-private":
			w.Header().Set("Cache-Control", "private")
		case "/vary":
			w.Header().Set("Vary", "Accept-Language")
			fallthrough
		default:
			w.Header().Set("Cache-Control", "max-age=60")
		}
		fmt.Fprintf(w, "%s %s answer %d\n", r.URL.Path, r.Header.Get("Accept-Language"), n)
	}))
	l, err := net.Listen("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	server.Listener.Close()
	server.Listener = l
	server.Start()
	ts.Defer(server.Close)
}

func truncate(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer f.Close()
	ts.Check(f.Truncate(size))
}

func pause(ts *testscript.TestScript, neg bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}

// ask runs a client once, or until its output matches.
func ask(ts *testscript.TestScript, neg bool, args []string, client func([]string) (string, error)) {
	var until *regexp.Regexp
	if len(args) > 1 && args[0] == "-until" {
		var err error
		until, err = regexp.Compile("(?m)" + args[1])
		ts.Check(err)
		args = args[2:]
	}
	const limit = 2 * time.Minute
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		out, err := client(args)
		if err == nil && (until == nil || until.MatchString(out)) {
			fmt.Fprint(ts.Stdout(), out)
			if neg {
				ts.Fatalf("it succeeded")
			}
			return
		}
		if until == nil || time.Now().After(deadline) {
			if err != nil && neg {
				fmt.Fprintln(ts.Stderr(), err)
				return
			}
			ts.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
