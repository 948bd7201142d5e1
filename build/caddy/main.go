// Command caddy is Caddy with its standard modules and Tandem's edge modules.
//
// It is a Go module of its own, and not a package of Tandem's, because Caddy
// finds the version of a plugin among the dependencies of the main module: in
// here `caddy list-modules --packages --versions` tells the truth.
package main

import (
	_ "time/tzdata" // time zones for templates on machines that have none

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/tandem-cdn/tandem/caddymodule/edgecache"
	_ "github.com/tandem-cdn/tandem/caddymodule/edgehealth"
	_ "github.com/tandem-cdn/tandem/caddymodule/zerocopy"
)

func main() { caddycmd.Main() }
