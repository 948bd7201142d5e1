#!/bin/sh
# Builds Caddy with Tandem's edge modules from this checkout: with xcaddy when it
# is on PATH, otherwise with build.go, which takes the same arguments.
#
#	./xcaddy.sh [--with MODULE[@VERSION][=PATH]]... [--replace ...] [--output FILE]
#
# CADDY_VERSION, the XCADDY_* variables, GOOS and GOARCH work in both cases.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
module=github.com/tandem-cdn/tandem

if ! command -v xcaddy >/dev/null 2>&1; then
	TANDEM_DIR=$PWD # relative folders in the arguments begin here
	export TANDEM_DIR
	cd "$here"
	exec go run ./build.go caddy "$@"
fi

# One --replace for the whole module: `--with PACKAGE=.` would make xcaddy look
# for the package at the root of the folder.
: "${CADDY_VERSION:=$(awk '$1 == "github.com/caddyserver/caddy/v2" { print $2; exit }' "$here/build/caddy/go.mod")}"
mkdir -p "$here/bin"
exec xcaddy build "$CADDY_VERSION" \
	--with "$module/caddymodule/edgecache" \
	--with "$module/caddymodule/zerocopy" \
	--with "$module/caddymodule/edgehealth" \
	--replace "$module=$here" \
	--output "$here/bin/caddy" \
	"$@"
