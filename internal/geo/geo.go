// Package geo holds points on the globe and the distance between them.
//
// A Point is made once, when a node list or a GeoIP file is loaded; it keeps
// its place as a unit vector from the centre of the earth, so that measuring
// the distance between two points later costs one square root and one arcsine
// and no other trigonometry:
//
//	      N
//	   ,-‾|‾-.   p      chord = |p - q|
//	 ,'   |  _\/'       arc   = 2·asin(chord/2)
//	|     |-‾  \ arc    distance = R·arc
//	|     +-----q
//
// The zero Point is nowhere: it has no distance to anything. Null Island
// (0, 0) is a place like any other.
package geo

import (
	"fmt"
	"math"
)

// EarthRadius is the mean radius of the earth, R1 of the IUGG, in kilometres.
const EarthRadius Distance = 6371.0088

// Distance is a length along the surface of the earth in kilometres.
type Distance float64

// Unknown is the distance from or to nowhere. It is greater than any real
// distance, so that what has no place sorts last.
var Unknown = Distance(math.Inf(1))

// Known reports whether d is a real distance.
func (d Distance) Known() bool { return d < Unknown }

// String returns d in whole kilometres, such as "8678km", or "unknown".
func (d Distance) String() string {
	if !d.Known() {
		return "unknown"
	}
	return fmt.Sprintf("%.0fkm", float64(d))
}

// Point is a place on the globe. The zero value is nowhere.
type Point struct {
	lat, lon float64 // degrees
	x, y, z  float64 // the same as a unit vector; all zero when nowhere
}

// At returns the point at lat degrees north and lon degrees east. Latitude
// must lie within ±90 and longitude within ±180; NaN and infinities are
// errors too. On error the point is nowhere.
func At(lat, lon float64) (Point, error) {
	if !(lat >= -90 && lat <= 90) {
		return Point{}, fmt.Errorf("latitude %v is not between -90 and 90", lat)
	}
	if !(lon >= -180 && lon <= 180) {
		return Point{}, fmt.Errorf("longitude %v is not between -180 and 180", lon)
	}
	sinLat, cosLat := math.Sincos(lat * math.Pi / 180)
	sinLon, cosLon := math.Sincos(lon * math.Pi / 180)
	return Point{lat, lon, cosLat * cosLon, cosLat * sinLon, sinLat}, nil
}

// Known reports whether p is somewhere.
func (p Point) Known() bool { return p.x != 0 || p.y != 0 || p.z != 0 }

// Lat returns degrees north of the equator, 0 when p is nowhere.
func (p Point) Lat() float64 { return p.lat }

// Lon returns degrees east of Greenwich, 0 when p is nowhere.
func (p Point) Lon() float64 { return p.lon }

// String returns latitude and longitude in degrees, such as "51.5,-0.12", or
// "nowhere".
func (p Point) String() string {
	if !p.Known() {
		return "nowhere"
	}
	return fmt.Sprintf("%.4g,%.4g", p.lat, p.lon)
}

// DistanceTo returns the great-circle distance from p to q, or Unknown when
// either of them is nowhere.
func (p Point) DistanceTo(q Point) Distance {
	if !p.Known() || !q.Known() {
		return Unknown
	}
	dx, dy, dz := p.x-q.x, p.y-q.y, p.z-q.z
	// The haversine of the arc. Rounding can carry it just past 1 between
	// antipodes, where the arcsine would be NaN.
	h := min((dx*dx+dy*dy+dz*dz)/4, 1)
	return 2 * EarthRadius * Distance(math.Asin(math.Sqrt(h)))
}
