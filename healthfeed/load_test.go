package healthfeed

import (
	"math"
	"reflect"
	"testing"
)

// Every field of a load is bounded in a record, and has its median in the table.
func TestLoadFields(t *testing.T) {
	for i := range reflect.TypeFor[Load]().NumField() {
		name := reflect.TypeFor[Load]().Field(i).Name
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
