// Package demo runs the whole of Tandem on this machine, and shows or checks
// that it works:
//
//	                 ┌──────────┐ probes  ┌────────────────────┐
//	client ─ dig ───►│ CoreDNS  │────────►│ lon   sea   bei    │──► origin
//	   │             │ geosched │◄────────│ Caddy ×3           │
//	   │             └──────────┘  feed   └────────────────────┘
//	   └──────────── curl ───────────────────────▲
//
// With etcd there are two name servers, see sharing.
//
// The programs are the real ones, on loopback, in processes of their own; the
// origin and the clients are in this process. [Run] shows a live view until it
// is interrupted. [Check] does unattended what a curious person would try, prints
// what it did, and fails on any surprise.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Options say what to run.
type Options struct {
	Caddy, CoreDNS string    // the programs
	Etcd           string    // the program etcd, for two name servers that share the feed; empty: one alone
	GeoIP          string    // a MaxMind City database; empty: the built-in table
	Out            io.Writer // where the story is told
}

// A place is where a client of the demo sits.
type place struct {
	city   string
	subnet string // what its resolver sends as client subnet
	edge   string // the node that is nearest
}

// The subnets are of MaxMind's published test data, so that they are found both
// in its test database and, by region, in the built-in table.
var places = []place{
	{"London", "81.2.69.160/32", "lon"},
	{"Seattle", "216.160.83.56/32", "sea"},
	{"Beijing", "175.16.199.0/24", "bei"},
}

// name is the steered name.
const name = "www.cdn.example"

// Run starts everything on the well-known ports of the demo, prints commands to
// try, and shows what happens until ctx ends, which is not an error.
func Run(ctx context.Context, o Options) error {
	s, err := start(ctx, o, fixedPorts, 500*time.Millisecond)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer s.stop()
	s.printInvitation(o.Out)
	if s.sharing != nil {
		go s.showPartitions(ctx, o.Out)
	}
	err = s.watch(ctx, o.Out)
	fmt.Fprintln(o.Out, "\nstopping")
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Check starts everything on free ports, with quick checks of health, so that it
// can run beside anything. It returns the first thing that was not as it should.
func Check(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	began := time.Now()
	s, err := start(ctx, o, freePorts, 200*time.Millisecond)
	if err != nil {
		return err
	}
	c := &checker{stage: s, out: o.Out}
	err = c.run(ctx)
	if err != nil {
		s.printLogs(o.Out)
	}
	if err := errors.Join(err, s.stop()); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(o.Out, "\ndemo check passed: %d steps in %.1f s\n", c.steps, time.Since(began).Seconds())
	return nil
}

// workDir makes the folder for configurations, logs and state.
func workDir() (string, error) { return os.MkdirTemp("", "tandem-demo-") }
