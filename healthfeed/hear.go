package healthfeed

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// Receive hears a snapshot as it came from another process, delayed on its way. It is
// what a Source calls with the bytes that it was sent.
func (f *Feed) Receive(data []byte, delay time.Duration) error {
	s, err := f.parse(data, delay)
	if err != nil {
		return err
	}
	return f.Hear(s)
}

// Hear is Offer for what another process sent: with an identity, records that their
// prober has not signed are passed over and counted.
func (f *Feed) Hear(s *Snapshot) error {
	if f.config.Identity != nil {
		heard := *s
		heard.Records = f.believed(s.Records)
		s = &heard
	}
	return f.offer(s)
}

// parse reads a snapshot that was delayed.
func (f *Feed) parse(data []byte, delay time.Duration) (*Snapshot, error) {
	s, err := ParseSnapshot(data)
	if err != nil {
		f.refused.add(RefusedInvalid)
		return nil, err
	}
	for i := range s.Records {
		r := &s.Records[i]
		r.AgeMS = (r.age() + min(delay, maxAge)).Milliseconds()
	}
	return s, nil
}

var errUnsigned = errors.New("it is not signed")

// verify returns why a record is not to be believed that came by way of others: it is
// not signed by the prober that it names. A process without an identity believes all.
func (f *Feed) verify(a *Aged) (Refusal, error) {
	switch {
	case f.config.Identity == nil:
		return "", nil
	case a.Signed == nil:
		return RefusedUnsigned, errUnsigned
	}
	by, err := f.config.Identity.Verify(recordPurpose, a.Signed.Record, a.Signed.Signature)
	if err == nil && by.Prober() != a.Prober {
		err = fmt.Errorf("it is signed by %s", by.ID)
	}
	if err != nil {
		return RefusedForged, err
	}
	return "", nil
}

// believed drops the records that are here or not to be believed; the others are
// offered. Each change of what is wrong with a prober's records is logged once, at most once a minute.
func (f *Feed) believed(records []Aged) []Aged {
	good := make([]Aged, 0, len(records))
	for i := range records {
		a := &records[i]
		if f.has(&a.Record) {
			continue
		}
		reason, err := f.verify(a)
		if err == nil {
			good = append(good, *a)
		} else {
			f.refused.add(reason)
		}
		f.note(a.Prober, err)
	}
	return good
}

// has reports whether a record, or a later one of its epoch, is here.
func (f *Feed) has(r *Record) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, known := f.records[r.Prober]
	return known && r.Epoch == old.Epoch && r.Seq <= old.Seq
}

// A disbelief is what was logged last of the records of a prober.
type disbelief struct {
	why string // empty when they are good again
	at  time.Time
}

// disbeliefPause is the least time between two lines about one prober, since whoever has a
// hub could make another mistake with every event.
const disbeliefPause = time.Minute

// note logs what is wrong with the records of a prober when that changes.
func (f *Feed) note(prober string, err error) {
	why, now := "", time.Now()
	if err != nil {
		why = err.Error()
	}
	f.mu.Lock()
	last, known := f.complaints[prober]
	news := why != "" && why != last.why && (!known || now.Sub(last.at) >= disbeliefPause)
	if news && !known && len(f.complaints) >= maxProbers {
		maps.DeleteFunc(f.complaints, func(_ string, d disbelief) bool { return now.Sub(d.at) >= disbeliefPause })
		news = len(f.complaints) < maxProbers
	}
	switch {
	case news:
		f.complaints[prober] = disbelief{why, now}
	case known && why == "":
		f.complaints[prober] = disbelief{"", last.at}
	}
	f.mu.Unlock()
	if news {
		f.config.Log.Warn("record not believed", "prober", prober, "err", err)
	}
}
