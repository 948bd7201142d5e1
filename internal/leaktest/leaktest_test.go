package leaktest

import (
	"strings"
	"testing"
	"time"
)

func TestLeft(t *testing.T) {
	end := make(chan struct{})
	go lingering(end)
	for len(found()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if left := wait(20 * time.Millisecond); len(left) == 0 {
		t.Error("it waits for nothing")
	}
	close(end)
	for len(found()) > 0 {
		time.Sleep(time.Millisecond)
	}
}

func lingering(end chan struct{}) { <-end }

func found() (all []string) {
	for _, stack := range Left() {
		if strings.Contains(stack, "leaktest.lingering") {
			all = append(all, stack)
		}
	}
	return all
}
