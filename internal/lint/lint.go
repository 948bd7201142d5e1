// Package lint looks for what is odd in the files of a name server. A file that
// cannot be used is refused by whoever reads it; here is the rest, what is allowed
// and still likely to be a mistake:
//
//	nodes.json ─┐                      ┌─ nodes       that stand elsewhere than GeoIP says
//	policy.json ┤                      ├─ services    that hang on one node
//	nets.txt    ┼─► Run ─► Findings ───┼─ policies    that nobody uses, rules that leave nobody
//	resolvers   ┤        file:line     └─ networks    that make no difference
//	MaxMind ────┘
//
// A Finding has the line that somebody would change. There is no I/O here but what
// Files.Geography does.
package lint

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// Severity is how bad a finding is.
type Severity uint8

const (
	Note    Severity = iota // may be meant so
	Warning                 // is hardly meant so
	Error                   // does not work
)

var severityNames = [...]string{"note", "warning", "error"}

// String returns the word.
func (s Severity) String() string { return severityNames[s] }

// MarshalText implements [encoding.TextMarshaler].
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Finding is one thing that is odd.
type Finding struct {
	File     string   `json:"file,omitempty"` // empty if Message begins with it
	Line     int      `json:"line,omitempty"` // from 1
	Severity Severity `json:"severity"`
	Check    string   `json:"check"` // a word for what was looked for
	Message  string   `json:"message"`
}

// String is the finding in a line.
func (f Finding) String() string {
	if f.File == "" {
		return fmt.Sprintf("%s (%v)", f.Message, f.Severity)
	}
	return fmt.Sprintf("%s:%d: %s (%v)", f.File, f.Line, f.Message, f.Severity)
}

// File is the name and the text of a file.
type File struct {
	Name string
	Data []byte
}

// Files are what to look at; nil is a file that is not there.
type Files struct {
	Nodes, Policy, Nets, Resolvers *File

	// Base is what each policy begins with.
	Base steer.Policy

	Corefile *Corefile

	// Geography returns the trie of the MaxMind files, which tells some autonomous
	// systems apart.
	Geography func(asns []uint32) (*geoip.Trie, error)
}

// Corefile is what a Corefile says beside the names of the other files.
type Corefile struct {
	Inventory *healthfeed.Inventory // of inline nodes, or nil
	Steered   []Steered             // the names, but for those of a records file
	Negative  uint32                // TTL of negative responses, in seconds
	Refused   error                 // that the server ends with, or nil

	TTL, NegTTL Place                 // where these are written
	Node        func(id string) Place // where an inline node is written, or the block for ""
}

// Steered is a name and the service that answers for it, "" for all nodes.
type Steered struct {
	Place
	Name, Service string
}

// Place is a line of a file.
type Place struct {
	File string
	Line int
}

// Run returns what is odd, by file and line.
func Run(f *Files) []Finding {
	r := &run{Files: f, book: policy.Only(f.Base)}
	r.read()
	r.nodes()
	r.services()
	r.policies()
	r.networks(f.Nets)
	r.networks(f.Resolvers)
	r.corefile()
	slices.SortStableFunc(r.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return r.found
}

// run is one run of all checks.
type run struct {
	*Files
	inventory *healthfeed.Inventory // nil if there is none that can be read
	written   *tree                 // the same as it is written; nil without a nodes file
	book      *policy.Book
	ruled     *tree       // the same as it is written; nil without a file that can be read
	trie      *geoip.Trie // nil if it cannot be read
	found     []Finding
}

// read reads what there is. What cannot be read is a finding, and nothing more is
// found in it.
func (r *run) read() {
	fail := func(err error) {
		r.found = append(r.found, Finding{Severity: Error, Check: "read", Message: err.Error()})
	}
	if f := r.Nodes; f != nil {
		inv, err := healthfeed.ParseInventory(f.Name, f.Data)
		if err == nil {
			r.inventory, r.written = inv, newTree(f)
		} else {
			fail(err)
		}
	}
	if r.Nodes == nil && r.Corefile != nil {
		r.inventory = r.Corefile.Inventory
	}
	if f := r.Policy; f != nil {
		book, err := policy.Parse(f.Name, f.Data, r.Base)
		if err == nil {
			r.book, r.ruled = book, newTree(f)
		} else {
			fail(err)
		}
	}
	var err error
	if r.trie, err = r.Geography(r.book.ASNs()); err != nil {
		r.trie = nil
		fail(err)
	}
}

func (r *run) add(file string, line int, s Severity, check, format string, args ...any) {
	r.found = append(r.found, Finding{file, line, s, check, fmt.Sprintf(format, args...)})
}
