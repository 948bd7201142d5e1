package main

import (
	"slices"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
)

func TestGeoschedPlace(t *testing.T) {
	got, err := withGeosched(dnsserver.Directives)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(dnsserver.Directives)+1 {
		t.Fatalf("%d directives became %d", len(dnsserver.Directives), len(got))
	}
	at := slices.Index(got, "geosched")
	for _, earlier := range []string{"metadata", "ready", "prometheus", "errors", "acl", "cache", "dnssec", "transfer"} {
		if i := slices.Index(got, earlier); i < 0 || i > at {
			t.Errorf("%s is at %d, not before geosched at %d", earlier, i, at)
		}
	}
	for _, later := range []string{"hosts", "file", "auto", "secondary", "forward"} {
		if i := slices.Index(got, later); i < at {
			t.Errorf("%s is at %d, not after geosched at %d", later, i, at)
		}
	}
}

func TestGeoschedPlaceMissing(t *testing.T) {
	for _, directives := range [][]string{nil, {"hosts", "file"}, {"transfer"}, {"hosts", "transfer"}} {
		if got, err := withGeosched(directives); err == nil {
			t.Errorf("withGeosched(%q) = %q, want an error", directives, got)
		}
	}
}
