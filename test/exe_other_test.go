//go:build !windows

package test

const exe = ""
