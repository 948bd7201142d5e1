package healthfeed

import (
	"math"
	"reflect"
	"testing"
)

// Every number of a load is bounded in a record, and has its median in the table.
func TestLoadFields(t *testing.T) {
	for i := range reflect.TypeFor[Load]().NumField() {
		name := reflect.TypeFor[Load]().Field(i).Name
		if name == "Idle" {
			continue
		}
		of := func(v float64) (l Load) {
			reflect.ValueOf(&l).Elem().Field(i).SetFloat(v)
			return l
		}
		m := merging{loads: []Load{of(0.1), of(0.5), of(0.2)}}
		if got := m.medianLoad(); got != of(0.2) {
			t.Errorf("%s: the median is %+v", name, got)
		}
		for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
			o := Observation{Load: of(bad)}
			if o.validate() == nil {
				t.Errorf("%s: %v is taken", name, bad)
			}
		}
	}
}

// No requests are known to be none if half of those say so who say anything.
func TestIdleByMajority(t *testing.T) {
	idle, busy, mute := Load{CPU: 1, Idle: true}, Load{CPU: 1, RPS: 2}, Load{CPU: 1}
	for i, test := range []struct {
		loads []Load
		want  Load
	}{
		{[]Load{idle}, idle}, {[]Load{mute}, mute}, {[]Load{idle, mute}, idle}, {[]Load{idle, mute, mute}, mute},
		{[]Load{idle, idle, busy}, idle}, {[]Load{idle, busy, busy}, busy}, {[]Load{busy, mute, mute}, mute},
	} {
		m := merging{loads: test.loads}
		if got := m.medianLoad(); got != test.want {
			t.Errorf("%d: got %+v, want %+v", i, got, test.want)
		}
	}
}
