package healthfeed

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
)

// A Signed record is one as its prober wrote it, for readers who have it from somebody
// else. Whoever passes it on can hold it back, and change nothing:
//
//	prober ──signs──► hub or etcd ──as it is──► hub ──as it is──► reader, verifies
//
// In JSON it stands in the place of the record:
//
//	{"age_ms": 12, "signed": {"record": {"prober": "dns-ns1", ...}, "chain": ["MIIB..."], "sig": "MEUC..."}}
//
// The signature is over the record in JSON without white space.
type Signed struct {
	Record json.RawMessage `json:"record"`
	identity.Signature
}

// recordPurpose is what the signature of a record is for.
const recordPurpose = "healthfeed record"

// MarshalJSON writes a signed record only as it was signed.
func (a Aged) MarshalJSON() ([]byte, error) { return json.Marshal(a.written()) }

// written is what of a record is written, in types without a MarshalJSON, after which
// package json would read all over again what that has written.
func (a *Aged) written() any {
	if a.Signed == nil {
		type plain Aged
		return (*plain)(a)
	}
	return struct {
		AgeMS  int64   `json:"age_ms"`
		Signed *Signed `json:"signed"`
	}{a.AgeMS, a.Signed}
}

// encode writes a snapshot, which takes two thirds of the time that json.Marshal does.
func (s *Snapshot) encode() ([]byte, error) {
	records := make([]any, len(s.Records))
	for i := range s.Records {
		records[i] = s.Records[i].written()
	}
	return json.Marshal(struct {
		Inventory *Inventory `json:"inventory,omitempty"`
		Records   []any      `json:"records"`
		Overrides []Override `json:"overrides,omitempty"`
	}{s.Inventory, records, s.Overrides})
}

// unfold reads what is signed, if something is, without a look at by whom.
func (a *Aged) unfold() error {
	if a.Signed == nil {
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, a.Signed.Record); err != nil {
		return err
	}
	a.Signed.Record, a.Record = compact.Bytes(), Record{} // nothing that stands beside it counts
	return json.Unmarshal(a.Signed.Record, &a.Record)
}

// sign signs what this process measures.
func (f *Feed) sign(records []Aged) error {
	for i := range records {
		a := &records[i]
		if f.config.Identity == nil || a.Signed != nil || a.Prober != f.config.Identity.Self().Prober() {
			continue
		}
		data, err := json.Marshal(&a.Record)
		if err != nil {
			return err
		}
		signature, err := f.config.Identity.Sign(recordPurpose, data)
		if err != nil {
			return fmt.Errorf("record of %q: %w", a.Prober, err)
		}
		a.Signed = &Signed{data, signature}
	}
	return nil
}
