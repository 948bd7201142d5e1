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
	# go run must compile build.go itself for this machine.
	for name in GOOS GOARCH GOARM; do
		eval "value=\${$name-}"
		if [ -n "$value" ]; then
			target="${target-} $name=$value"
			unset "$name"
		fi
	done
	# shellcheck disable=SC2086 # one word for each variable
	exec go run ./build.go ${target-} caddy "$@"
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
