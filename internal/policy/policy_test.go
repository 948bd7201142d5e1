package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/internal/steer"
)

var base = steer.Policy{Answers: 2, Near: 0.05, Epsilon: 50, TTL: steer.TTL{Normal: 300, Degraded: 60}}

const example = `{"policies": {
   "default": {"weights": {"alpha": 0.4, "beta": 0.4, "near": 25, "eps_ms": 7.5}},
   "video":   {"strategy": "least-loaded", "answers": 3, "sticky": "subnet",
               "ttl": {"normal": 60, "adaptive": true},
               "alldown": {"do": "cname", "cname": "Sorry.example.net", "below": 30},
               "bias": {"lon1": 1.5, "region=eu": 0.8},
               "rules": [{"exclude": ["isp=as64500"], "countries": ["de", "AT"]},
                         {"include": ["lon1", "lon2"], "continents": ["EU"], "asns": [3320, 1]}]},
   "same":    {}}}`

func TestOver(t *testing.T) {
	parse := func(text string) *Book {
		b, err := Parse("p.json", []byte(text), steer.Policy{Answers: 1})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := parse(`{"policies": {"a": {"answers": 2}}}`).Over(
		parse(`{"policies": {"a": {"answers": 3}}}`), parse(`{"policies": {"b": {"answers": 4}}}`),
		parse(`{"policies": {"b": {"answers": 5}}}`), parse(`{"policies": {"default": {"answers": 6}}}`))
	for name, want := range map[string]int{"a": 2, "b": 4, "default": 6, "c": 6} {
		if p, _ := b.Lookup(name); p.Answers != want {
			t.Errorf("%s has %d answers, want %d", name, p.Answers, want)
		}
	}
	if b.Line("b") != 0 || b.Line("a") != 1 {
		t.Errorf("a is on line %d, b on %d", b.Line("a"), b.Line("b"))
	}
}

func TestParse(t *testing.T) {
	b, err := Parse("policy.json", []byte(example), base)
	if err != nil {
		t.Fatal(err)
	}
	strategy, err := steer.StrategyOf("least-loaded")
	if err != nil {
		t.Fatal(err)
	}
	byDefault, video := base, base
	byDefault.Alpha, byDefault.Beta, byDefault.Near, byDefault.EpsilonRTT = 0.5, 0.5, 0.25, 7500*time.Microsecond
	video.Strategy, video.Answers, video.Sticky = strategy, 3, true
	video.TTL = steer.TTL{Normal: 60, Degraded: 60, Adaptive: true}
	video.AllDown = steer.LastResort{Do: steer.CName, Name: "sorry.example.net.", Below: 0.3}
	video.Bias = []steer.Bias{{Nodes: steer.Selector{ID: "lon1"}, Factor: 1.5}, {Nodes: steer.Selector{Labels: map[string]string{"region": "eu"}}, Factor: 0.8}}
	video.Rules = []steer.Rule{
		{Nodes: []steer.Selector{{Labels: map[string]string{"isp": "as64500"}}}, Countries: []string{"DE", "AT"}},
		{Include: true, Nodes: []steer.Selector{{ID: "lon1"}, {ID: "lon2"}}, Continents: []string{"EU"}, ASNs: []uint32{3320, 1}},
	}
	for name, want := range map[string]steer.Policy{"default": byDefault, "video": video, "same": base} {
		got, ok := b.Lookup(name)
		if !ok || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	if got, ok := b.Lookup("none"); ok || !reflect.DeepEqual(*got, byDefault) {
		t.Errorf("got %+v, %v for a policy that does not exist", got, ok)
	}
	if got := b.ASNs(); !slices.Equal(got, []uint32{1, 3320}) {
		t.Errorf("got %v", got)
	}
	if got := b.Names(); !slices.Equal(got, []string{"default", "same", "video"}) {
		t.Errorf("got %v", got)
	}
	if got, ok := Only(base).Lookup(Default); !ok || !reflect.DeepEqual(*got, base) {
		t.Errorf("got %+v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, policy, want string }{
		{"unknown-field", `{"startegy": "nearest"}`, `2: policy "p": unknown field "startegy"`},
		{"unknown-strategy", `{"strategy": "rnd"}`, `2: policy "p": strategy "rnd" is unknown, want one of nearest, least-loaded, weighted-round-robin, health`},
		{"strategy-no-string", `{"strategy": 1}`, `2: policy "p": strategy: 1 is not a string`},
		{"line-of-the-word", "{\"answers\": 1,\n\n\"ttl\": {\"normal\": 60,\n\"degraded\": \"x\"}}", `5: policy "p": degraded: "x" is not a whole number`},
		{"answers", `{"answers": 9}`, `policy "p": answers: 9 is outside 1 to 8`},
		{"alpha-alone", `{"weights": {"alpha": 1}}`, "alpha and beta go together"},
		{"no-weights", `{"weights": {"alpha": 0, "beta": 0}}`, "cannot both be 0"},
		{"near", `{"weights": {"near": 100}}`, "near: 100 is outside 0 to 99"},
		{"eps", `{"weights": {"eps_km": 0}}`, "eps_km: 0 is outside 0.1 to 20000"},
		{"ewma-is-of-the-prober", `{"weights": {"ewma": 0.85}}`, `unknown field "ewma"`},
		{"ttl", `{"ttl": {"normal": 604801}}`, "normal: 604801 is outside 0 to 604800"},
		{"degraded-longer", `{"ttl": {"degraded": 301}}`, "degraded 301 is longer than normal 300"},
		{"adaptive", `{"ttl": {"adaptive": 1}}`, "adaptive: 1 is not true or false"},
		{"sticky", `{"sticky": "yes"}`, `sticky: "yes" is not off or subnet`},
		{"sticky-turns", `{"sticky": "subnet", "strategy": "weighted-round-robin"}`, "exclude each other"},
		{"alldown", `{"alldown": {"do": "nothing"}}`, `do: "nothing" is not all, best, static, empty or cname`},
		{"alldown-cname", `{"alldown": {"do": "cname"}}`, "go together"},
		{"alldown-name-for-all", `{"alldown": {"cname": "sorry.example.net"}}`, "go together"},
		{"alldown-bad-name", `{"alldown": {"do": "cname", "cname": "a..b"}}`, `cname: "a..b" is not a domain name`},
		{"alldown-short-name", `{"alldown": {"do": "cname", "cname": "sorry"}}`, `"sorry" is not a whole domain name`},
		{"below", `{"alldown": {"below": 101}}`, "below: 101 is outside 0 to 100"},
		{"bias", `{"bias": {"lon1": 0}}`, "bias: 0 is outside 0.01 to 100"},
		{"bias-selector", `{"bias": {"lon 1": 2}}`, `bias: node "lon 1" has the character ' '`},
		{"rule-without-nodes", `{"rules": [{"countries": ["DE"]}]}`, "a rule wants nodes"},
		{"rule-of-both", `{"rules": [{"include": ["a"], "exclude": ["b"]}]}`, "not both"},
		{"country", `{"rules": [{"include": ["a"], "countries": ["GBR"]}]}`, `"GBR" is not a country of two letters such as GB`},
		{"country-uk", `{"rules": [{"include": ["a"], "countries": ["uk"]}]}`, `"uk" is not a country of two letters such as GB`},
		{"country-empty", `{"rules": [{"include": ["a"], "countries": []}]}`, "the list is empty"},
		{"continent", `{"rules": [{"include": ["a"], "continents": ["DE"]}]}`, `"DE" is not a continent`},
		{"asn", `{"rules": [{"include": ["a"], "asns": [0]}]}`, "asns: 0 is not the number of an autonomous system"},
		{"asn-word", `{"rules": [{"include": ["a"], "asns": ["AS1"]}]}`, `asns: "AS1" is not the number`},
		{"selector", `{"rules": [{"include": ["=x"]}]}`, `"=x" is neither the id of a node nor labels`},
		{"too-many-rules", `{"rules": [` + strings.Repeat(`{"include": ["a"]},`, 64) + `{"include": ["a"]}]}`, "more than 64 rules"},
		{"twice", `{"answers": 1, "answers": 2}`, `2: field "answers" is written twice`},
		{"not-an-object", `[]`, "a list is not an object {…}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("policy.json", []byte("{\"policies\": {\n\"p\": "+tt.policy+"}}"), base)
			if err == nil || !strings.HasPrefix(err.Error(), "policy.json:") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for data, want := range map[string]string{
		``:                          "policy.json:1: the file is empty",
		`{"policies": {"a b": {}}}`: `policy.json:1: policy name "a b" has the character ' '`,
		`{"policy": {}}`:            `policy.json:1: unknown field "policy"`,
	} {
		if _, err := Parse("policy.json", []byte(data), base); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", data, err, want)
		}
	}
}

// What is taken can be steered by.
func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`{"policies": {"a": {"weights": {"alpha": 0, "beta": 1, "near": 99, "eps_km": 0.1, "eps_ms": 1e4}}}}`))
	f.Add([]byte(`{"policies": {"a": {"rules": [{"exclude": ["a=b,c=d"], "asns": [4294967295]}], "bias": {"x": 100}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Parse("policy.json", data, base)
		if err != nil {
			if b != nil || !strings.HasPrefix(err.Error(), "policy.json:") {
				t.Fatalf("%v, %v", b, err)
			}
			return
		}
		for _, name := range b.Names() {
			p, ok := b.Lookup(name)
			switch {
			case !ok:
				t.Fatalf("no policy %q", name)
			case p.Answers < 1 || p.Answers > steer.MaxAnswers, p.TTL.Degraded > p.TTL.Normal, p.TTL.Normal > MaxTTL,
				!(p.Near >= 0 && p.Near < 1), !(p.Alpha+p.Beta == 0 || p.Alpha+p.Beta > 0.999 && p.Alpha+p.Beta < 1.001),
				!(p.AllDown.Below >= 0 && p.AllDown.Below <= 1), len(p.Rules) > steer.MaxRules,
				(p.AllDown.Do == steer.CName) != (p.AllDown.Name != ""):
				t.Errorf("%q: %+v", name, p)
			}
			for _, b := range p.Bias {
				if _, err := steer.ParseSelector(b.Nodes.String()); err != nil || !(b.Factor > 0) {
					t.Errorf("%q: bias %v %v: %v", name, b.Nodes, b.Factor, err)
				}
			}
		}
	})
}

// What alldown does not say is as in the base, like everything else.
func TestAllDownStartsFromBase(t *testing.T) {
	best := steer.LastResort{Do: steer.Best, Below: 0.5}
	sorry := steer.LastResort{Do: steer.CName, Below: 0.5, Name: "sorry.example.net."}
	for _, tt := range []struct {
		base steer.LastResort
		text string
		want steer.LastResort
	}{
		{best, `{}`, best},
		{best, `{"below": 30}`, steer.LastResort{Do: steer.Best, Below: 0.3}},
		{best, `{"below": 0}`, steer.LastResort{Do: steer.Best}},
		{best, `{"do": "static"}`, steer.LastResort{Do: steer.Static, Below: 0.5}},
		{best, `{"do": "cname", "cname": "sorry.example.net"}`, sorry},
		{sorry, `{"below": 30}`, steer.LastResort{Do: steer.CName, Below: 0.3, Name: "sorry.example.net."}},
		{sorry, `{"cname": "other.example.net"}`, steer.LastResort{Do: steer.CName, Below: 0.5, Name: "other.example.net."}},
		{sorry, `{"do": "cname"}`, sorry},
		{sorry, `{"do": "all"}`, steer.LastResort{Below: 0.5}},
	} {
		from := base
		from.AllDown = tt.base
		b, err := Parse("p", []byte(`{"policies": {"p": {"alldown": `+tt.text+`}}}`), from)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if p, _ := b.Lookup("p"); p.AllDown != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.text, p.AllDown, tt.want)
		}
	}
}

// A policy can be found in its file.
func TestLines(t *testing.T) {
	b, err := Parse("policy.json", []byte("{\"policies\": {\n\"b\": {},\n\n\"a\": {\n\"answers\": 2}, \"c\": {}}}"), steer.Policy{Answers: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"b": 2, "a": 4, "c": 5, Default: 0} {
		if got := b.Line(name); got != want {
			t.Errorf("%s: line %d, want %d", name, got, want)
		}
	}
}
