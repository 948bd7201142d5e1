package geoip

import (
	"errors"
	"fmt"
	"math"

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

// places makes classes of the records of one file.
type places struct {
	b     *builder
	means map[uint32]*mean // class → where its records are
}

type mean struct{ lat, lon, n float64 }

// insertPlaces lays a City, Country or Enterprise file on b. Networks of which
// neither coordinates nor continent are known keep the class that they have.
func (b *builder) insertPlaces(m *mmdb) error {
	p := places{b: b, means: make(map[uint32]*mean)}
	m.decode = p.decode
	if err := m.lay(b, nil); err != nil {
		return err
	}
	if len(p.means) == 0 {
		return fmt.Errorf("%s: no location in it: its type is %q, want a City or Country file", m.File, m.Type)
	}
	for id, mean := range p.means {
		var err error
		if b.classes[id].Point, err = geo.At(mean.lat/mean.n, mean.lon/mean.n); err != nil {
			return fmt.Errorf("%s: %w", m.File, err)
		}
	}
	return nil
}

// decode returns the class of a record, or clear if it has no place.
func (p *places) decode(result maxminddb.Result) (uint32, error) {
	var rec record
	if err := result.Decode(&rec); err != nil {
		return 0, err
	}
	c := Class{Source: GeoIP, Continent: rec.Continent.Code, Country: rec.Country.ISOCode}
	var at geo.Point
	var key string
	switch lat, lon := rec.Location.Latitude, rec.Location.Longitude; {
	case (lat == nil) != (lon == nil):
		return 0, errors.New("latitude without longitude or longitude without latitude")
	case lat != nil:
		var err error
		if at, err = geo.At(*lat, *lon); err != nil {
			return 0, err
		}
		// The country belongs to the key so that cells on a border do not
		// report their neighbour's.
		key = fmt.Sprintf("%g %g %s %s", math.Floor(*lat), math.Floor(*lon), c.Continent, c.Country)
	default:
		ll, ok := continents[c.Continent]
		if !ok {
			return clear, nil
		}
		at, _ = geo.At(ll[0], ll[1])
		key = c.Continent + " " + c.Country
	}
	id := p.b.class(c.known(key))
	m := p.means[id]
	if m == nil {
		m = new(mean)
		p.means[id] = m
	}
	m.lat, m.lon, m.n = m.lat+at.Lat(), m.lon+at.Lon(), m.n+1
	return id, nil
}
