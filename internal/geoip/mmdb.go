package geoip

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/tandem-cdn/tandem/internal/geo"
)

// record is what we read of a record of a City, Country or Enterprise file.
type record struct {
	Location struct {
		Latitude  *float64 `maxminddb:"latitude"`
		Longitude *float64 `maxminddb:"longitude"`
	} `maxminddb:"location"`
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
}

// continents are the points for records that name no coordinates, as in
// Country files.
var continents = map[string][2]float64{
	"AF": {2, 20}, "AN": {-80, 0}, "AS": {27, 100}, "EU": {50, 10}, "NA": {39, -98}, "OC": {-30, 145}, "SA": {-15, -55},
}

// reading is one MaxMind file on its way into a builder.
type reading struct {
	b        *builder
	maxBits  [2]int             // longest prefix to keep, IPv4 and IPv6
	byOffset map[uintptr]uint32 // record in the file → class, or none
	means    map[uint32]*mean   // class → where its records are

	crowd netip.Prefix     // a prefix of maxBits that longer networks share,
	votes map[uint32]int64 // and how many 2^-62ths of its space each class has
}

const none = math.MaxUint32

type mean struct{ lat, lon, n float64 }

// insertFile reads a MaxMind file into b. The file is read into memory rather
// than mapped, because a mapped file that someone overwrites in place kills
// the process with SIGBUS. Records of which neither coordinates nor continent
// are known leave alone what is in b already.
func (b *builder) insertFile(name string, maxV4, maxV6 int) error {
	buf, err := os.ReadFile(name)
	if err != nil {
		return err // names the file
	}
	db, err := maxminddb.OpenBytes(buf)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := checkTree(buf, db.Metadata); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r := reading{
		b:        b,
		maxBits:  [2]int{maxV4, maxV6},
		byOffset: make(map[uintptr]uint32),
		means:    make(map[uint32]*mean),
		votes:    make(map[uint32]int64),
	}
	for result := range db.Networks() {
		if err := r.add(result); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	r.flush()
	if len(r.means) == 0 {
		return fmt.Errorf("%s: no location in it: its type is %q, want a City or Country file", name, db.Metadata.DatabaseType)
	}
	for id, m := range r.means {
		if b.classes[id].Point, err = geo.At(m.lat/m.n, m.lon/m.n); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// add inserts one network. Networks longer than maxBits are held back until
// all that share the same prefix of maxBits are there; the class with most
// addresses then gets the whole of it. They arrive in order of address.
func (r *reading) add(result maxminddb.Result) error {
	if err := result.Err(); err != nil {
		return err
	}
	id, err := r.classOf(result)
	if err != nil {
		return err
	}
	if id == none {
		return nil
	}
	p := result.Prefix()
	limit := r.maxBits[1]
	if p.Addr().Is4() {
		limit = r.maxBits[0]
	}
	if p.Bits() <= limit {
		r.b.insert(p, id)
		return nil
	}
	crowd, err := p.Addr().Prefix(limit)
	if err != nil {
		return err
	}
	if crowd != r.crowd {
		r.flush()
		r.crowd = crowd
	}
	r.votes[id] += 1 << max(0, 62-(p.Bits()-limit))
	return nil
}

func (r *reading) flush() {
	winner := uint32(none)
	for id, n := range r.votes {
		if winner == none || n > r.votes[winner] || n == r.votes[winner] && id < winner {
			winner = id
		}
	}
	if winner != none {
		r.b.insert(r.crowd, winner)
	}
	clear(r.votes)
}

// classOf returns the class of a record, or none if it has no place. Files
// share records between networks, so each is decoded once.
func (r *reading) classOf(result maxminddb.Result) (uint32, error) {
	if id, ok := r.byOffset[result.Offset()]; ok {
		return id, nil
	}
	id, err := r.decode(result)
	if err != nil {
		return none, fmt.Errorf("network %s: %w", result.Prefix(), err)
	}
	r.byOffset[result.Offset()] = id
	return id, nil
}

func (r *reading) decode(result maxminddb.Result) (uint32, error) {
	var rec record
	if err := result.Decode(&rec); err != nil {
		return none, err
	}
	c := Class{Source: GeoIP, Continent: rec.Continent.Code, Country: rec.Country.ISOCode}
	var p geo.Point
	var key string
	switch lat, lon := rec.Location.Latitude, rec.Location.Longitude; {
	case (lat == nil) != (lon == nil):
		return none, errors.New("latitude without longitude or longitude without latitude")
	case lat != nil:
		var err error
		if p, err = geo.At(*lat, *lon); err != nil {
			return none, err
		}
		// The country belongs to the key so that cells on a border do not
		// report their neighbour's.
		key = fmt.Sprintf("%g %g %s", math.Floor(*lat), math.Floor(*lon), c.Country)
	default:
		ll, ok := continents[c.Continent]
		if !ok {
			return none, nil
		}
		p, _ = geo.At(ll[0], ll[1])
		key = c.Continent + " " + c.Country
	}
	id := r.b.class(c, key)
	m := r.means[id]
	if m == nil {
		m = new(mean)
		r.means[id] = m
	}
	m.lat, m.lon, m.n = m.lat+p.Lat(), m.lon+p.Lon(), m.n+1
	return id, nil
}
