package records

import (
	"fmt"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/names"
)

// maxWord in octets is more than any word has that means something: a name of 255
// octets, each escaped. It bounds what errors quote.
const maxWord = 4 * 256

// parser parses chunks. What it has parsed it keeps until the end of the file, when
// it is known which lines came and which went.
type parser struct {
	zones names.Zones
	index *names.Index // that makes the keys

	text    []byte // of all names
	lines   []line
	targets map[targetKey]*names.Target

	// of the chunk
	src  []byte
	pos  int
	line int // of the file
	st   state

	// of the record
	blank  bool // it began without a name
	open   int  // where the outermost parenthesis was opened, as a line; 0 if none is
	depth  int
	words  []word
	owners [2]int // of the last names, in lines
}

// line is a name and what it is steered to.
type line struct {
	key      names.Key
	from, to int // the name, in parser.text
	at       int // of the file
	target   *names.Target
}

// word is one of a record.
type word struct {
	text   []byte
	quoted bool
	line   int
}

// targetKey finds a target that has been seen, without making a string of the word.
type targetKey struct {
	service string
	ttl     uint32
	own     bool
}

// parse parses the text of a chunk that begins on a line of the file, in the state
// at. It returns how many octets of it are records that are complete. Unless that is
// all, the text ends within parentheses, and nothing has happened. named is whether the
// line after it has a name of its own.
func (p *parser) parse(c *chunk, text []byte, at *state, firstLine int, named bool) (complete int, err error) {
	p.src, p.pos, p.line, p.st = text, 0, firstLine, *at
	textBefore, linesBefore := len(p.text), len(p.lines)
	p.owners = [2]int{len(p.lines), len(p.lines)}
	for p.pos < len(p.src) {
		from := p.pos
		if err := p.read(); err != nil {
			return 0, err
		}
		if p.depth > 0 {
			p.line = p.open
			p.text, p.lines = p.text[:textBefore], p.lines[:linesBefore]
			return from, nil
		}
		if len(p.words) == 0 {
			continue
		}
		if err := p.record(); err != nil {
			return 0, err
		}
	}
	c.lines = int32(p.line - firstLine)
	if n := len(p.lines) - linesBefore; n > 0 {
		c.names = make([]names.Key, n)
		for i, l := range p.lines[linesBefore:] {
			c.names[i] = l.key
		}
	}
	if named {
		p.st.owners = ""
	} else if own := p.lines[p.owners[0]:p.owners[1]]; len(own) > 0 {
		var b strings.Builder
		for _, l := range own {
			b.Write(p.text[l.from:l.to])
			b.WriteByte('\n')
		}
		p.st.owners = b.String()
	}
	if c.end = at; p.st != *at {
		end := p.st
		c.end = &end
	}
	return len(text), nil
}

func (p *parser) fail(line int, format string, args ...any) error {
	return &Error{line, fmt.Errorf(format, args...)}
}

// read reads the words of one record, which is a line, or several that parentheses
// join (RFC 1035, section 5.1).
func (p *parser) read() error {
	p.words, p.depth = p.words[:0], 0
	p.blank = p.src[p.pos] == ' ' || p.src[p.pos] == '\t'
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; c {
		case ' ', '\t', '\r':
			p.pos++
		case '\n':
			p.pos++
			p.line++
			if p.depth == 0 {
				return nil
			}
		case ';':
			for p.src[p.pos] != '\n' {
				p.pos++
			}
		case '(':
			p.pos++
			if p.depth++; p.depth == 1 {
				p.open = p.line
			}
		case ')':
			p.pos++
			if p.depth--; p.depth < 0 {
				return p.fail(p.line, "%q closes nothing", ")")
			}
		default:
			w, err := p.word()
			if err != nil {
				return err
			}
			if len(w.text) > maxWord {
				return p.fail(p.line, "%.80q is the beginning of a word of %d octets, which is too long", w.text, len(w.text))
			}
			p.words = append(p.words, w)
		}
	}
	return nil
}

// word reads one word. The text ends with a line end, and a word before.
func (p *parser) word() (word, error) {
	if p.src[p.pos] == '"' {
		for i := p.pos + 1; ; i++ {
			switch p.src[i] {
			case '"':
				w := word{p.src[p.pos+1 : i], true, p.line}
				p.pos = i + 1
				return w, nil
			case '\\':
				if p.src[i+1] != '\n' {
					i++
				}
			case '\n':
				return word{}, p.fail(p.line, "the quotation mark before %.80q is not closed", p.src[p.pos+1:i])
			}
		}
	}
	for i := p.pos; ; i++ {
		switch p.src[i] {
		case '\\':
			if p.src[i+1] == '\n' {
				return word{}, p.fail(p.line, "%.80q ends with a bare \\", p.src[p.pos:i+1])
			}
			i++
		case ' ', '\t', '\r', '\n', ';', '(', ')', '"':
			w := word{p.src[p.pos:i], false, p.line}
			p.pos = i
			return w, nil
		}
	}
}

// record parses one record or directive.
func (p *parser) record() error {
	words := p.words
	first := words[0]
	if !p.blank && !first.quoted && first.text[0] == '$' {
		return p.directive()
	}
	if !p.blank {
		words = words[1:]
	}
	target, err := p.steer(first, words)
	if err != nil {
		return err
	}
	from := len(p.lines)
	switch {
	case !p.blank:
		err = p.name(first, target)
	case p.owners[0] < p.owners[1]:
		for _, l := range p.lines[p.owners[0]:p.owners[1]] {
			p.lines = append(p.lines, line{l.key, l.from, l.to, first.line, target})
		}
	case p.st.owners == "":
		err = p.fail(first.line, "no name stands before %q, nor on a line above", first.text)
	default:
		for name := range strings.Lines(p.st.owners) {
			p.add(append(p.text, name[:len(name)-1]...), first.line, target)
		}
	}
	p.owners = [2]int{from, len(p.lines)}
	return err
}

// steer parses [TTL] [IN] STEER SERVICE.
func (p *parser) steer(first word, words []word) (*names.Target, error) {
	ttl, own := p.st.ttl, p.st.hasTTL
	hasTTL, hasClass := false, false
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		switch {
		case w.is("STEER"):
			if len(words) != 1 {
				return nil, p.fail(w.line, "%s wants one service, got %d words", w.text, len(words))
			}
			return p.target(words[0], ttl, own)
		case w.is("IN") && !hasClass:
			hasClass = true
		case len(w.text) > 0 && w.text[0] >= '0' && w.text[0] <= '9' && !w.quoted && !hasTTL:
			seconds, err := p.seconds(w)
			if err != nil {
				return nil, err
			}
			ttl, own, hasTTL = seconds, true, true
		default:
			return nil, p.fail(w.line, "%q is not STEER, which is all that stands here; other records of the zone belong to the file plugin, behind fallthrough", w.text)
		}
	}
	return nil, p.fail(first.line, "%q has no STEER SERVICE", first.text)
}

// is reports whether w is a mnemonic, which are in any case.
func (w word) is(mnemonic string) bool {
	return len(w.text) == len(mnemonic) && !w.quoted && strings.EqualFold(string(w.text), mnemonic)
}

// target returns the target that a service and a TTL make.
func (p *parser) target(w word, ttl uint32, own bool) (*names.Target, error) {
	if t := p.targets[targetKey{string(w.text), ttl, own}]; t != nil {
		return t, nil
	}
	t := &names.Target{Service: string(w.text), TTL: ttl, OwnTTL: own}
	if t.Service == "*" && !w.quoted {
		t.Service = ""
	} else if err := healthfeed.CheckName(t.Service); err != nil {
		return nil, p.fail(w.line, "service %w", err)
	}
	if p.targets == nil {
		p.targets = make(map[targetKey]*names.Target)
	}
	p.targets[targetKey{string(w.text), ttl, own}] = t
	return t, nil
}

// name adds the names that a word stands for: itself if it ends in a dot, or else one
// at the origin, or in each zone as long as there is none.
func (p *parser) name(w word, target *names.Target) error {
	origins := []string(p.zones)
	if p.st.origin != "" {
		origins = []string{p.st.origin}
	}
	for _, origin := range origins {
		from := len(p.text)
		text, err := names.Append(p.text, w.text, origin)
		if err != nil {
			return p.fail(w.line, "name %q %w", w.text, err)
		}
		name := text[from:]
		if names.ZoneOf(p.zones, name) < 0 {
			return p.fail(w.line, "name %q is not in the zone %s", w.text, strings.Join(p.zones, " or "))
		}
		absolute := names.Absolute(w.text)
		if !absolute && origin != "." && string(w.text) != "@" {
			// With a dot that was forgotten, what stands before the origin is in a zone.
			if in := names.ZoneOf(p.zones, name[:len(name)-len(origin)]); in >= 0 && p.zones[in] != "." {
				return p.fail(w.line, "name %q is relative to %s and repeats it; end it with a dot if it is absolute", w.text, origin)
			}
		}
		p.add(text, w.line, target)
		if absolute {
			break
		}
	}
	return nil
}

// add adds the name at the end of text.
func (p *parser) add(text []byte, at int, target *names.Target) {
	from := len(p.text)
	p.text = text
	p.lines = append(p.lines, line{p.index.Key(text[from:]), from, len(text), at, target})
}

// steerAll brings the lines to the index, and forgets them. What it finds of their
// names among the lines that are gone it takes from there.
func (p *parser) steerAll(e *names.Edit, gone map[names.Key]int) error {
	text := string(p.text)
	for _, l := range p.lines {
		n := gone[l.key]
		if n > 0 {
			delete(gone, l.key)
		}
		if err := e.Steer(text[l.from:l.to], l.key, *l.target, n); err != nil {
			return err
		}
	}
	p.text, p.lines = p.text[:0], p.lines[:0]
	return nil
}
