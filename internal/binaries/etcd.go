package binaries

import (
	"context"
	"fmt"
	"path/filepath"
)

// BuildEtcd compiles an etcd server into bin/, of the version that the client in
// Tandem's go.sum comes from, and returns its file. It is for tests, and for the demo
// where none is installed; nobody's CDN should run it.
func (b *Builder) BuildEtcd(ctx context.Context) (file string, err error) {
	p := Program{Name: "etcd", Dir: "test"}
	file = b.File(p)
	err = b.run(ctx, filepath.Join(b.Root, p.Dir), "go", "build", "-o", file, "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "./etcd")
	if err != nil {
		return "", fmt.Errorf("building etcd: %w", err)
	}
	return file, nil
}
