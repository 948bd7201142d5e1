// Etcd is the etcd server of the version that the client in this repository comes from.
// The drills run with it beside the one that a machine has installed, which is often
// years older, and the demo does where none is installed.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
