package edgecache

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// What subdirectives take for arguments. The dispenser stands on the name of
// the subdirective; errors quote that, or the word that is wrong.

// oneArg reads exactly one argument.
func oneArg(d *caddyfile.Dispenser, into *string) error {
	if !d.AllArgs(into) {
		return d.ArgErr()
	}
	if *into == "" {
		return d.Err("empty argument")
	}
	return nil
}

// someArgs reads at least one argument, and refuses what valid refuses.
func someArgs(d *caddyfile.Dispenser, into *[]string, valid func(*httpcache.Policy) error) error {
	if *into = d.RemainingArgs(); len(*into) == 0 {
		return d.ArgErr()
	}
	if err := valid(new(httpcache.Policy)); err != nil {
		return d.Errf("bad %v", err)
	}
	return nil
}

// oneWord reads exactly one word, and refuses what parse refuses.
func oneWord[T any](d *caddyfile.Dispenser, into *string, parse func(string) (T, error)) error {
	option := d.Val()
	if err := oneArg(d, into); err != nil {
		return err
	}
	if _, err := parse(*into); err != nil {
		return d.Errf("bad %s %v", option, err)
	}
	return nil
}

// oneSwitch reads exactly one of on and off.
func oneSwitch(d *caddyfile.Dispenser, into **bool) error {
	var arg string
	if err := oneArg(d, &arg); err != nil {
		return err
	}
	on := arg == "on"
	if !on && arg != "off" {
		return d.Errf("bad %q: want on or off", arg)
	}
	*into = &on
	return nil
}

// oneCount reads exactly one positive number.
func oneCount(d *caddyfile.Dispenser, into *int) error {
	option, arg := d.Val(), ""
	if err := oneArg(d, &arg); err != nil {
		return err
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n <= 0 {
		return d.Errf("bad %s %q: want a positive number", option, arg)
	}
	*into = n
	return nil
}

// parsePercent reads a whole number of percent, such as 25%.
func parsePercent(arg string) (int, bool) {
	digits, ok := strings.CutSuffix(arg, "%")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}

// oneSize reads exactly one positive size such as 512MiB.
func oneSize(d *caddyfile.Dispenser, into *int64) error {
	var arg string
	if err := oneArg(d, &arg); err != nil {
		return err
	}
	return parseSize(d, arg, into)
}

func parseSize(d *caddyfile.Dispenser, arg string, into *int64) error {
	n, err := humanize.ParseBytes(arg)
	unit := strings.TrimRight(arg, "0123456789") == arg
	if err != nil || !unit || n == 0 || n > math.MaxInt64 || strings.HasPrefix(arg, "-") {
		return d.Errf("bad size %q: want a positive number with a unit such as 512MiB", arg)
	}
	*into = int64(n)
	return nil
}

// oneDuration reads exactly one duration.
func oneDuration(d *caddyfile.Dispenser, into *caddy.Duration) error {
	var arg string
	if err := oneArg(d, &arg); err != nil {
		return err
	}
	v, err := parseDuration(arg)
	if err != nil {
		return d.Errf("bad duration %v", err)
	}
	*into = v
	return nil
}

// oneDurationOrZero is oneDuration for options of which zero is not the
// default.
func oneDurationOrZero(d *caddyfile.Dispenser, into **caddy.Duration) error {
	*into = new(caddy.Duration)
	return oneDuration(d, *into)
}

// onePositive reads exactly one positive duration.
func onePositive(d *caddyfile.Dispenser, into *caddy.Duration) error {
	option, arg := d.Val(), ""
	if err := oneArg(d, &arg); err != nil {
		return err
	}
	duration, err := parseDuration(arg)
	if err != nil || duration == 0 {
		return d.Errf("bad %s %q: want a positive duration such as 10s", option, arg)
	}
	*into = duration
	return nil
}

func parseDuration(arg string) (caddy.Duration, error) {
	v, err := caddy.ParseDuration(arg)
	if err != nil || v < 0 || v > math.MaxInt64/4 {
		return 0, fmt.Errorf("%q: want one such as 10s, 5m or 30d", arg)
	}
	return caddy.Duration(v), nil
}
