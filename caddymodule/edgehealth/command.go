package edgehealth

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "edgehealth",
		Usage: "nodes|watch|probe URL|drain|undrain [--address <admin>] [--config <file>] [--adapter <name>]",
		Short: "Shows the health of the CDN's nodes, and drains this one",
		Long: `
Shows what the running Caddy knows of the nodes of the CDN, asks one node itself,
and makes the node that this Caddy is announce that it wants no new clients.

All but probe talk to the admin endpoint of the running Caddy.`,
		CobraFunc: addCommands,
	})
}

// addCommands adds the commands below edgehealth.
func addCommands(parent *cobra.Command) {
	flags := parent.PersistentFlags()
	flags.StringP("address", "", "", "Address of the admin endpoint, if not that of the config")
	flags.StringP("config", "c", "", "Configuration file to take the address of the admin endpoint from")
	flags.StringP("adapter", "a", "", "Name of the adapter for the configuration file")
	parent.Args = cobra.NoArgs
	parent.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	for _, c := range []struct {
		use, short string
		args       cobra.PositionalArgs
		run        func(caddycmd.Flags, io.Writer) error
	}{
		{"nodes", "Lists the nodes, and how each of them is", cobra.NoArgs, printNodes},
		{"watch", "Prints the state of every node, and every change, until interrupted", cobra.NoArgs, printChanges},
		{"probe <url>", "Asks a node as a prober does, and prints what it says", cobra.ExactArgs(1), printProbe},
		{"drain", "Makes this node announce that it wants no new clients", cobra.NoArgs, drainBy(http.MethodPost)},
		{"undrain", "Takes that back", cobra.NoArgs, drainBy(http.MethodDelete)},
	} {
		parent.AddCommand(&cobra.Command{
			Use: c.use, Short: c.short, Args: c.args,
			RunE: caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
				if err := c.run(flags, os.Stdout); err != nil {
					return caddy.ExitCodeFailedStartup, err
				}
				return caddy.ExitCodeSuccess, nil
			}),
		})
	}
}

// ask makes a request to the admin endpoint of the running Caddy.
func ask(flags caddycmd.Flags, method, path string) (*http.Response, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(flags.String("address"), nil, flags.String("config"), flags.String("adapter"))
	if err != nil {
		return nil, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	return caddycmd.AdminAPIRequest(address, method, path, nil, nil)
}

// printNodes is the command nodes.
func printNodes(flags caddycmd.Flags, out io.Writer) error {
	response, err := ask(flags, http.MethodGet, "/edgehealth/nodes")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer nodesJSON
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	fmt.Fprintf(out, "generation %d, %s\n\n", answer.Generation, answer.Freshness)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tREASON\tSINCE\tRTT\tHEALTH\tACCEPTS\tCPU\tRPS")
	for _, n := range answer.Nodes {
		id := n.ID
		if id == answer.Self {
			id += " (this)"
		}
		rtt := "-"
		if n.RTT.P50 > 0 {
			rtt = (time.Duration(n.RTT.P50) * time.Microsecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%.0f%%\t%.0f%%\t%.0f%%\t%.0f\n", id, n.State, n.Reason,
			time.Since(n.Since).Round(time.Second), rtt, 100*n.Health, 100*n.Acceptance, 100*n.Load.CPU, n.Load.RPS)
	}
	return w.Flush()
}

// printChanges is the command watch. It asks again when the stream ends, as it does
// with every reload.
func printChanges(flags caddycmd.Flags, out io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	known := map[string]string{}
	for first := true; ctx.Err() == nil; first = false {
		response, err := ask(flags, http.MethodGet, "/edgehealth/watch")
		if err != nil && first {
			return err
		}
		if err == nil {
			copied := make(chan struct{})
			go func() { defer close(copied); copyChanges(response.Body, out, known) }()
			select {
			case <-copied:
			case <-ctx.Done():
			}
			response.Body.Close()
			<-copied
		}
		select {
		case <-time.After(watchPause / 4):
		case <-ctx.Done():
		}
	}
	return nil
}

// copyChanges prints a stream of changes until it ends. A new stream begins with all
// nodes; those that are as known are no news.
func copyChanges(stream io.Reader, out io.Writer, known map[string]string) {
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		var c change
		if json.Unmarshal(lines.Bytes(), &c) != nil || known[c.Node] == c.State {
			continue
		}
		line := c.Time.Format(time.DateTime) + " " + c.Node + " " + c.State
		if was := known[c.Node]; was != "" {
			line += ", was " + was
		}
		if c.Reason != "" {
			line += " (" + c.Reason + ")"
		}
		known[c.Node] = c.State
		fmt.Fprintln(out, line)
	}
}

// printProbe is the command probe. It is an error when a prober would hold the
// answer against the node.
func printProbe(flags caddycmd.Flags, out io.Writer) error {
	url := flags.Arg(0)
	if !strings.Contains(url, "://") {
		return fmt.Errorf("%q is not a URL, as http://203.0.113.10:8080%s is", url, defaultPath)
	}
	client := &http.Client{
		Timeout:       5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	start := time.Now()
	response, err := client.Head(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Fprintf(out, "status   %d after %v\n", response.StatusCode, time.Since(start).Round(10*time.Microsecond))
	header := response.Header.Get(probe.LoadHeader)
	report, err := probe.ParseReport(header)
	switch {
	case header == "":
		fmt.Fprintln(out, "load     not told")
	case err != nil:
		return err
	default:
		printLoad(out, report.Load)
		fmt.Fprintf(out, "drain    %v\nbreaker  %s\n", report.Drain, cmp.Or(report.Breaker, "not told"))
	}
	if s := response.StatusCode; (s < 200 || s > 399) && !report.Drain {
		return errors.New("a prober takes this for a failure")
	}
	return nil
}

func printLoad(out io.Writer, l healthfeed.Load) {
	fmt.Fprintf(out, "cpu      %.1f%%\nmem      %.1f%%\n", 100*l.CPU, 100*l.Mem)
	fmt.Fprintf(out, "rps      %g, %g ok, %g errors\n", l.RPS, l.OKRPS, l.EPS)
	fmt.Fprintf(out, "mbps     %g\nconns    %g\ninflight %g\nhit      %.1f%%\n", l.Mbps, l.Conns, l.InFlight, 100*l.Hit)
}

// drainBy is the command drain or undrain.
func drainBy(method string) func(caddycmd.Flags, io.Writer) error {
	return func(flags caddycmd.Flags, out io.Writer) error {
		response, err := ask(flags, method, "/edgehealth/drain")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		var answer drainJSON
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		fmt.Fprintf(out, "%s; %d requests in flight, %d connections\n", answer.State, answer.InFlight, answer.Connections)
		return nil
	}
}
