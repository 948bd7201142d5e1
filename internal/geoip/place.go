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
		Latitude  float64 `maxminddb:"latitude"`  // or absent
		Longitude float64 `maxminddb:"longitude"` // or absent
	} `maxminddb:"location"`
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
}

// absent is what coordinates are before a record is decoded. A pointer would be
// allocated for each.
var absent = math.Inf(1)

// continents are the points for records that name no coordinates, as in
// Country files.
var continents = map[string][2]float64{
	"AF": {2, 20}, "AN": {-80, 0}, "AS": {27, 100}, "EU": {50, 10}, "NA": {39, -98}, "OC": {-30, 145}, "SA": {-15, -55},
}

// places makes classes of the records of one file.
type places struct {
	b     *builder
	rec   record          // the one at hand
	cells map[cell]uint32 // → class
	means map[uint32]*mean
}

// cell is what the records of a class have in common: a degree by a degree, or
// without coordinates nothing but a continent. The country belongs to it so that
// cells on a border do not report their neighbour's.
type cell struct {
	placed             bool // has coordinates
	lat, lon           int
	continent, country string
}

// mean is where the records of a class are.
type mean struct{ lat, lon, n float64 }

// insertPlaces lays a City, Country or Enterprise file on b. Networks of which
// neither coordinates nor continent are known keep the class that they have.
func (b *builder) insertPlaces(m *mmdb) error {
	p := places{b: b, cells: make(map[cell]uint32), means: make(map[uint32]*mean)}
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

// decode returns the class of a record, or blank if it has no place.
func (p *places) decode(result maxminddb.Result) (uint32, error) {
	rec := &p.rec
	*rec = record{}
	rec.Location.Latitude, rec.Location.Longitude = absent, absent
	if err := result.Decode(rec); err != nil {
		return 0, err
	}
	c := cell{continent: rec.Continent.Code, country: rec.Country.ISOCode}
	var at geo.Point
	var err error
	lat, lon := rec.Location.Latitude, rec.Location.Longitude
	switch {
	case (lat == absent) != (lon == absent):
		return 0, errors.New("latitude without longitude or longitude without latitude")
	case lat != absent:
		if at, err = geo.At(lat, lon); err != nil {
			return 0, err
		}
		c.placed, c.lat, c.lon = true, int(math.Floor(lat)), int(math.Floor(lon))
	default:
		ll, ok := continents[rec.Continent.Code]
		if !ok {
			return blank, nil
		}
		at, _ = geo.At(ll[0], ll[1])
	}
	id, ok := p.cells[c]
	if !ok {
		id = p.b.class(c.class())
		p.cells[c] = id
		p.means[id] = new(mean)
	}
	m := p.means[id]
	m.lat, m.lon, m.n = m.lat+at.Lat(), m.lon+at.Lon(), m.n+1
	return id, nil
}

// class returns the class of a cell, but for its point.
func (c cell) class() Class {
	words := c.continent + " " + c.country
	if c.placed {
		words = fmt.Sprintf("%d %d %s", c.lat, c.lon, words)
	}
	return Class{Source: GeoIP, Continent: c.continent, Country: c.country}.known(words)
}
