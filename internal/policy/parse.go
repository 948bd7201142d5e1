package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
	"github.com/tandem-cdn/tandem/internal/jsontree"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// MaxTTL is the longest TTL in seconds, a week.
const MaxTTL = 7 * 24 * 3600

// Parse reads a policy file. It is strict: an unknown field, a field written twice or
// a value out of range is an error of the form
//
//	policy.json:7: policy "video": strategy "rnd" is unknown, want one of nearest, …
//
// with name and the line of the offending word in front. What a policy does not say
// is as in base.
func Parse(name string, data []byte, base steer.Policy) (*Book, error) {
	b := Only(base)
	top, err := jsontree.Parse(data)
	at, line := 0, 1 // of the policy last read
	if err == nil {
		err = jsontree.Fields(top, true, fields{
			"policies": func(w word) error {
				return jsontree.EachMember(w, func(name string, w word) error {
					line += bytes.Count(data[at:w.At], []byte("\n"))
					at = w.At
					b.lines[name] = line
					return b.read(name, w, base)
				})
			},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, jsontree.Line(data, err), err)
	}
	return b, nil
}

type (
	word   = jsontree.Word
	fields = map[string]jsontree.ReadFunc
)

// read reads one policy.
func (b *Book) read(name string, w word, base steer.Policy) error {
	if err := healthfeed.CheckName(name); err != nil {
		return w.Wrong("policy name %w", err)
	}
	p := base
	if err := read(w, &p); err != nil {
		var placed *jsontree.Error
		if errors.As(err, &placed) {
			return &jsontree.Error{Offset: placed.Offset, Err: fmt.Errorf("policy %q: %w", name, placed.Err)}
		}
		return fmt.Errorf("policy %q: %w", name, err)
	}
	b.policies[name] = &p
	return nil
}

func read(w word, p *steer.Policy) error {
	err := jsontree.Fields(w, true, fields{
		"strategy": func(w word) (err error) {
			name, ok := w.Value.(string)
			if !ok {
				return jsontree.FieldIsNot("strategy", w, "a string")
			}
			if p.Strategy, err = steer.StrategyOf(name); err != nil {
				return w.Wrong("%w", err)
			}
			return nil
		},
		"weights": func(w word) error { return weights(w, p) },
		"answers": func(w word) error {
			if err := jsontree.Integer("answers", &p.Answers)(w); err != nil {
				return err
			}
			return within(w, "answers", float64(p.Answers), 1, steer.MaxAnswers)
		},
		"ttl": func(w word) error { return ttl(w, &p.TTL) },
		"sticky": func(w word) error {
			switch w.Value {
			case "off":
				p.Sticky = false
			case "subnet":
				p.Sticky = true
			default:
				return jsontree.FieldIsNot("sticky", w, "off or subnet")
			}
			return nil
		},
		"alldown": func(w word) error { return allDown(w, &p.AllDown) },
		"bias": func(w word) error {
			p.Bias = nil
			return jsontree.EachMember(w, func(nodes string, w word) error {
				s, err := steer.ParseSelector(nodes)
				if err != nil {
					return w.Wrong("bias: %w", err)
				}
				bias := steer.Bias{Nodes: s}
				if err := ranged("bias", &bias.Factor, 0.01, 100)(w); err != nil {
					return err
				}
				p.Bias = append(p.Bias, bias)
				return nil
			})
		},
		"rules": func(w word) error {
			p.Rules = nil
			return jsontree.List(func(w word) error {
				r, err := rule(w)
				if p.Rules = append(p.Rules, r); err == nil && len(p.Rules) > steer.MaxRules {
					err = w.Wrong("there are more than %d rules", steer.MaxRules)
				}
				return err
			})(w)
		},
	})
	if err == nil && p.Sticky && p.Strategy != nil && p.Strategy.Traits().Turns {
		err = w.Wrong("sticky and strategy %q exclude each other: who takes turns does not stay", p.Strategy.Traits().Name)
	}
	return err
}

func weights(w word, p *steer.Policy) error {
	alpha, beta, near := -1.0, -1.0, -1.0
	km, ms := float64(p.Epsilon), float64(p.EpsilonRTT)/float64(time.Millisecond)
	err := jsontree.Fields(w, true, fields{
		"alpha":  ranged("alpha", &alpha, 0, 1),
		"beta":   ranged("beta", &beta, 0, 1),
		"near":   ranged("near", &near, 0, 99),
		"eps_km": ranged("eps_km", &km, 0.1, 20_000),
		"eps_ms": ranged("eps_ms", &ms, 0.1, 10_000),
	})
	switch {
	case err != nil:
		return err
	case (alpha < 0) != (beta < 0):
		return w.Wrong("weights: alpha and beta go together")
	case alpha+beta == 0:
		return w.Wrong("weights: alpha and beta cannot both be 0")
	case alpha >= 0:
		p.Alpha, p.Beta = alpha/(alpha+beta), beta/(alpha+beta)
	}
	if near >= 0 {
		p.Near = near / 100
	}
	p.Epsilon, p.EpsilonRTT = geo.Distance(km), time.Duration(ms*float64(time.Millisecond))
	return nil
}

func ttl(w word, t *steer.TTL) error {
	normal, degraded := int(t.Normal), -1
	err := jsontree.Fields(w, true, fields{
		"normal":   seconds("normal", &normal),
		"degraded": seconds("degraded", &degraded),
		"adaptive": jsontree.Bool("adaptive", &t.Adaptive),
	})
	switch {
	case err != nil:
		return err
	case degraded > normal:
		return w.Wrong("ttl: degraded %d is longer than normal %d", degraded, normal)
	case degraded < 0:
		degraded = min(int(t.Degraded), normal)
	}
	t.Normal, t.Degraded = uint32(normal), uint32(degraded)
	return nil
}

func allDown(w word, l *steer.LastResort) error {
	percent, name := -1.0, ""
	err := jsontree.Fields(w, true, fields{
		"do": func(w word) error {
			text, _ := w.Value.(string)
			var ok bool
			if l.Do, ok = steer.ResortOf(text); !ok {
				return jsontree.FieldIsNot("do", w, "all, best, static, empty or cname")
			}
			return nil
		},
		"below": ranged("below", &percent, 0, 100),
		"cname": func(w word) (err error) {
			text, _ := w.Value.(string)
			if name, err = CheckTarget(text); err != nil {
				return w.Wrong("cname: %w", err)
			}
			return nil
		},
	})
	if percent >= 0 {
		l.Below = percent / 100
	}
	switch {
	case err != nil:
		return err
	case name != "":
		l.Name = name
	case l.Do != steer.CName:
		l.Name = "" // that of the base
	}
	if (l.Do == steer.CName) != (l.Name != "") {
		return w.Wrong(`alldown: "do": "cname" and "cname": NAME go together`)
	}
	return nil
}

func rule(w word) (r steer.Rule, err error) {
	nodes := func(include bool) jsontree.ReadFunc {
		return func(w word) error {
			if r.Nodes != nil {
				return w.Wrong("a rule is about include or exclude, not both")
			}
			r.Include, r.Nodes = include, []steer.Selector{}
			return jsontree.List(func(w word) error {
				text, ok := w.Value.(string)
				if !ok {
					return w.IsNot("a string")
				}
				s, err := steer.ParseSelector(text)
				if err != nil {
					return w.Wrong("%w", err)
				}
				r.Nodes = append(r.Nodes, s)
				return nil
			})(w)
		}
	}
	err = jsontree.Fields(w, true, fields{
		"include": nodes(true),
		"exclude": nodes(false),
		"continents": codes(&r.Continents, "a continent: AF, AN, AS, EU, NA, OC or SA", func(c string) bool {
			return slices.Contains([]string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"}, c)
		}),
		"countries": codes(&r.Countries, "a country of two letters such as GB", func(c string) bool {
			return c != "UK" && // which GeoIP data call GB, so that nobody would ever be meant
				len(c) == 2 && c[0] >= 'A' && c[0] <= 'Z' && c[1] >= 'A' && c[1] <= 'Z'
		}),
		"asns": filled(func(w word) error {
			n, _ := w.Value.(json.Number)
			v, err := strconv.ParseUint(string(n), 10, 32)
			if err != nil || v == 0 {
				return jsontree.FieldIsNot("asns", w, "the number of an autonomous system")
			}
			r.ASNs = append(r.ASNs, uint32(v))
			return nil
		}),
	})
	if err == nil && len(r.Nodes) == 0 {
		err = w.Wrong("a rule wants nodes to include or exclude")
	}
	return r, err
}

// codes reads a list of codes in capital letters.
func codes(into *[]string, what string, good func(string) bool) jsontree.ReadFunc {
	return filled(func(w word) error {
		text, _ := w.Value.(string)
		if text = strings.ToUpper(text); !good(text) {
			return w.IsNot(what)
		}
		*into = append(*into, text)
		return nil
	})
}

// filled reads a list with something in it: an empty one would be about everybody,
// where somebody may have meant nobody.
func filled(read jsontree.ReadFunc) jsontree.ReadFunc {
	return func(w word) error {
		if words, ok := w.Value.([]word); ok && len(words) == 0 {
			return w.Wrong("the list is empty")
		}
		return jsontree.List(read)(w)
	}
}

func seconds(name string, into *int) jsontree.ReadFunc {
	return func(w word) error {
		if err := jsontree.Integer(name, into)(w); err != nil {
			return err
		}
		return within(w, name, float64(*into), 0, MaxTTL)
	}
}

// ranged reads a number between two bounds.
func ranged(name string, into *float64, least, most float64) jsontree.ReadFunc {
	return func(w word) error {
		if err := jsontree.Number(name, into)(w); err != nil {
			return err
		}
		return within(w, name, *into, least, most)
	}
}

func within(w word, name string, v, least, most float64) error {
	if !(v >= least && v <= most) {
		return w.Wrong("%s: %v is outside %v to %v", name, v, least, most)
	}
	return nil
}
