package records

import (
	"strconv"
	"strings"

	"github.com/tandem-cdn/tandem/internal/names"
)

// maxTTL in seconds is a week, as for all that geosched answers.
const maxTTL = 7 * 24 * 3600

// directive parses $ORIGIN NAME or $TTL TTL.
func (p *parser) directive() error {
	w := p.words[0]
	switch {
	case w.is("$ORIGIN"), w.is("$TTL"):
	default:
		return p.fail(w.line, "%q is none of the directives that stand here, $ORIGIN and $TTL", w.text)
	}
	if len(p.words) != 2 {
		return p.fail(w.line, "%s wants one word, got %d", w.text, len(p.words)-1)
	}
	arg := p.words[1]
	if w.is("$TTL") {
		seconds, err := p.seconds(arg)
		if err != nil {
			return err
		}
		p.st.ttl, p.st.hasTTL = seconds, true
		return nil
	}
	from := p.st.origin
	if from == "" {
		if len(p.zones) > 1 && !names.Absolute(arg.text) {
			return p.fail(arg.line, "$ORIGIN %q is relative, and there are several zones; end it with a dot", arg.text)
		}
		from = p.zones[0]
	}
	origin, err := names.Canonical(string(arg.text), from)
	if err != nil {
		return p.fail(arg.line, "name %q %w", arg.text, err)
	}
	if strings.HasPrefix(origin, "*.") {
		return p.fail(arg.line, "name %q has a wildcard, and only the first label of a name can be one", arg.text)
	}
	p.st.origin = origin
	return nil
}

// seconds parses a TTL: a number, or several with units, such as 300, 5m or 1h30m.
func (p *parser) seconds(w word) (uint32, error) {
	var total, n uint64
	digits := false
	for _, c := range w.text {
		if c >= '0' && c <= '9' {
			n = 10*n + uint64(c-'0')
			digits = true
		} else {
			unit := strings.IndexByte("smhdw", c|0x20)
			if unit < 0 || !digits {
				return 0, p.badTTL(w)
			}
			total += n * [...]uint64{1, 60, 3600, 24 * 3600, 7 * 24 * 3600}[unit]
			n, digits = 0, false
		}
		if n > maxTTL || total > maxTTL {
			return 0, p.badTTL(w)
		}
	}
	if total += n; len(w.text) == 0 || w.quoted || total > maxTTL {
		return 0, p.badTTL(w)
	}
	return uint32(total), nil
}

func (p *parser) badTTL(w word) error {
	return p.fail(w.line, "%q is not a TTL of at most a week, in seconds (%s) or with units such as 1h30m", w.text, strconv.Itoa(maxTTL))
}
