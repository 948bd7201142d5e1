package main

import (
	"strings"

	"github.com/tandem-cdn/tandem/internal/querylog"
	"github.com/tandem-cdn/tandem/internal/whatif"
	"github.com/tandem-cdn/tandem/plugin/geosched"
)

// ofBlocks returns the services of names by two Corefiles, nil if there are none. A
// name that a log does not say is for all nodes, and so is one whose service the
// inventory does not have, as in the name server.
func ofBlocks(old, changed *geosched.Block, before, after *whatif.World) whatif.Steered {
	if old == nil || changed == nil {
		return nil
	}
	return func(name string) (services [2]string, ok bool) {
		if name == "" {
			return services, true
		}
		for i, b := range [...]*geosched.Block{old, changed} {
			if services[i], ok = b.Service(name); !ok {
				return services, false
			}
			if w := [...]*whatif.World{before, after}[i]; w.Has(services[i]) != nil {
				services[i] = ""
			}
		}
		return services, true
	}
}

// ofFlags returns the services of names by words of the form NAME[=SERVICE]. Without
// any, all names are of the service otherwise.
func ofFlags(words []string, otherwise string, before, after *whatif.World) (whatif.Steered, error) {
	names, err := parseSteered(words, otherwise)
	if err != nil {
		return nil, err
	}
	for _, service := range names {
		for _, w := range []*whatif.World{before, after} {
			if err := w.Has(service); err != nil {
				return nil, err
			}
		}
	}
	return func(name string) ([2]string, bool) {
		service, ok := names.find(name)
		return [2]string{service, service}, ok
	}, nil
}

// steeredNames is which service answers for a name.
type steeredNames map[string]string

// everyName stands for all names.
const everyName = ""

func parseSteered(words []string, otherwise string) (steeredNames, error) {
	if len(words) == 0 {
		return steeredNames{everyName: otherwise}, nil
	}
	names := make(steeredNames)
	for _, word := range words {
		name, service, given := strings.Cut(word, "=")
		if !given {
			service = otherwise
		}
		if name = querylog.Canonical(name); name == "" {
			return nil, misuse("-steer %q: there is no name", word)
		}
		if _, again := names[name]; again {
			return nil, misuse("-steer: %q is there twice", name)
		}
		names[name] = service
	}
	return names, nil
}

// find returns the service of a name. A wildcard stands for all names below it, of
// any depth, that no other is nearer to.
func (n steeredNames) find(name string) (service string, ok bool) {
	if service, ok = n[name]; ok {
		return service, true
	}
	for rest := name; rest != ""; {
		_, rest, _ = strings.Cut(rest, ".")
		if service, ok = n["*."+rest]; ok {
			return service, true
		}
	}
	service, ok = n[everyName]
	return service, ok
}
