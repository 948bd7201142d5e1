package edgecache

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "edgecache",
		Usage: "stores|object URL|flights [--address <admin>] [--config <file>] [--adapter <name>]",
		Short: "Shows what the cache of the running Caddy holds and fetches",
		Long: `
Shows what the running Caddy has stored, for one URL in detail, and what it is
fetching. All of it comes from the admin endpoint, and nothing is changed.`,
		CobraFunc: addCommands,
	})
}

// addCommands adds the commands below edgecache.
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
		{"stores", "Lists the stores, and how full each of them is", cobra.NoArgs, printStores},
		{"object <url>", "Shows what is stored for a URL", cobra.ExactArgs(1), printObject},
		{"flights", "Lists the fetches under way, the oldest first", cobra.NoArgs, printFlights},
	} {
		command := &cobra.Command{
			Use: c.use, Short: c.short, Args: c.args,
			RunE: caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
				if err := c.run(flags, os.Stdout); err != nil {
					return caddy.ExitCodeFailedStartup, err
				}
				return caddy.ExitCodeSuccess, nil
			}),
		}
		if c.args != nil && strings.HasPrefix(c.use, "object") {
			command.Flags().StringArrayP("header", "H", nil, "Field of the request, as NAME:VALUE; may be repeated")
		}
		parent.AddCommand(command)
	}
}

// askAdmin reads an answer of the admin endpoint of the running Caddy.
func askAdmin(flags caddycmd.Flags, path string, answer any) error {
	address, err := caddycmd.DetermineAdminAPIAddress(flags.String("address"), nil, flags.String("config"), flags.String("adapter"))
	if err != nil {
		return fmt.Errorf("finding the admin endpoint: %w", err)
	}
	response, err := caddycmd.AdminAPIRequest(address, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

// table prints rows of cells, in columns.
func table(out io.Writer, rows ...[]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func printStores(flags caddycmd.Flags, out io.Writer) error {
	var answer []storeJSON
	if err := askAdmin(flags, "/edgecache/stores", &answer); err != nil {
		return err
	}
	rows := [][]string{{"STORE", "OBJECTS", "BYTES", "OF", "EVICTED", "FLIGHTS", "WAITERS"}}
	for _, s := range answer {
		rows = append(rows, []string{s.Name, fmt.Sprint(s.Objects), size(s.Bytes), size(s.Memory),
			fmt.Sprint(s.Evictions), fmt.Sprint(s.Flights), fmt.Sprint(s.Waiters)})
	}
	return table(out, rows...)
}

func printObject(flags caddycmd.Flags, out io.Writer) error {
	fields, err := flags.GetStringArray("header")
	if err != nil {
		return err
	}
	query := url.Values{"url": {flags.Arg(0)}, "header": fields}
	var answer []objectJSON
	if err := askAdmin(flags, "/edgecache/object?"+query.Encode(), &answer); err != nil {
		return err
	}
	for _, o := range answer {
		fmt.Fprintf(out, "%s in store %s\n\n", o.Key, o.Store)
		rows := [][]string{{"", "STATUS", "AGE", "TTL", "STALE UNTIL", "KEPT UNTIL", "CONTENT", "VARIES BY"}}
		for _, v := range o.Variants {
			mark, stale := "", "-"
			if v.Selected {
				mark = "*"
			}
			for _, until := range []*time.Time{v.StaleWhileRevalidate, v.StaleIfError} {
				if until != nil {
					stale = max(stale, until.Format(time.DateTime))
				}
			}
			var vary []string
			for _, name := range slices.Sorted(maps.Keys(v.Vary)) {
				vary = append(vary, name+": "+v.Vary[name])
			}
			rows = append(rows, []string{mark, fmt.Sprint(v.Status), fmt.Sprintf("%ds", v.Age), fmt.Sprintf("%ds", v.TTL),
				stale, v.Kept.Format(time.DateTime), contentCell(v), strings.Join(vary, "; ")})
		}
		if err := table(out, rows...); err != nil {
			return err
		}
	}
	return nil
}

// contentCell is how long the content is, and which parts are stored if not all.
func contentCell(v variantJSON) string {
	if len(v.Parts) > 0 {
		return strings.Join(v.Parts, ",") + " of " + size(v.Content)
	}
	return size(v.Content)
}

func printFlights(flags caddycmd.Flags, out io.Writer) error {
	var answer []flightJSON
	if err := askAdmin(flags, "/edgecache/flights", &answer); err != nil {
		return err
	}
	rows := [][]string{{"AGE", "STATE", "WAITERS", "READERS", "BYTES", "STORE", "KEY"}}
	for _, f := range answer {
		rows = append(rows, []string{(time.Duration(f.AgeMS) * time.Millisecond).String(), f.State, fmt.Sprint(f.Waiters),
			fmt.Sprint(f.Readers), fmt.Sprint(f.Bytes), f.Store, f.Key})
	}
	return table(out, rows...)
}
