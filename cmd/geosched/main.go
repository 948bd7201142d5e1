// Command geosched tries decisions of the name server before they are made, with
// the files that the name server reads:
//
//	geosched explain   why is a client sent where it is sent?
//	geosched replay    who would be sent elsewhere by other files? (from a query log)
//	geosched lint      what in the files is odd?
//
// It reads files and sends nothing to anybody. The decisions are made by the same
// package steer, so that what it says is what the name server does.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
)

// What the program exits with.
const (
	exitOK    = 0
	exitError = 1 // something is wrong with a file
	exitUsage = 2 // something is wrong with the command
	exitChurn = 3 // replay: more would move than -max-churn
)

func main() {
	log.SetOutput(io.Discard) // what the name server would say while it reads files
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// A command does one of the things above. It returns what to exit with, if there is
// no error.
type command struct {
	name, args, about string
	run               func(c *call) (int, error)
}

var commands = []command{
	{"explain", "[FLAGS] CLIENT...", "says for each client which nodes it gets, and what was made of the others", explain},
	{"replay", "-log FILE [FLAGS]", "puts the queries of a log to two sets of files and compares", replay},
	{"lint", "[FLAGS] [COREFILE]", "looks for what is odd in files that the name server would take", lintFiles},
}

// A call is one run of a command.
type call struct {
	flags          *flag.FlagSet
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// parse reads flags and sets args to what follows them.
func (c *call) parse() error {
	if err := c.flags.Parse(c.args); err != nil {
		return err
	}
	c.args = c.flags.Args()
	return nil
}

// A usageError is a mistake in the command.
type usageError struct{ error }

// Unwrap returns the error, which may be a question for help.
func (e usageError) Unwrap() error { return e.error }

func misuse(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage())
		return exitUsage
	}
	for _, cmd := range commands {
		if cmd.name == args[0] {
			return cmd.call(args[1:], stdin, stdout, stderr)
		}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage())
		return exitOK
	case "version", "-version", "--version":
		fmt.Fprintln(stdout, version)
		return exitOK
	}
	fmt.Fprintf(stderr, "geosched: unknown command %q\n%s", args[0], usage())
	return exitUsage
}

// version is set when the program is linked.
var version = "unversioned"

func (cmd *command) call(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &call{flag.NewFlagSet(cmd.name, flag.ContinueOnError), args, stdin, stdout, stderr}
	c.flags.SetOutput(io.Discard) // errors are printed below
	code, err := cmd.run(c)
	var wrong usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "geosched %s %s\n\n%s.\n\n", cmd.name, cmd.args, cmd.about)
		c.flags.SetOutput(stdout)
		c.flags.PrintDefaults()
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "geosched %s: %v\ngeosched %s -h tells more\n", cmd.name, err, cmd.name)
		return exitUsage
	case err != nil:
		fmt.Fprintf(stderr, "geosched: %v\n", err)
		return exitError
	}
	return code
}

func usage() string {
	var b strings.Builder
	b.WriteString("geosched tries decisions of the name server before they are made.\n\n")
	for _, cmd := range commands {
		fmt.Fprintf(&b, "%s %s\n    %s\n", cmd.name, cmd.args, cmd.about)
	}
	b.WriteString("version\n    says which version of Tandem this is of\n\n`geosched COMMAND -h` lists the flags of a command.\n")
	return b.String()
}
