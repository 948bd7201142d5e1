// Measurements beside other programs. They are a module of their own so that
// nobody who imports Tandem gets what only they need.
module github.com/tandem-cdn/tandem/bench/peers

go 1.26.0

require (
	github.com/maxmind/mmdbwriter v1.2.0
	github.com/miekg/dns v1.1.73
	github.com/quic-go/quic-go v0.64.1
)

require (
	github.com/oschwald/maxminddb-golang/v2 v2.1.1 // indirect
	github.com/quic-go/qpack v0.6.0 // indirect
	go4.org/netipx v0.0.0-20231129151722-fdeea329fbba // indirect
	golang.org/x/crypto v0.54.0 // indirect
	golang.org/x/net v0.57.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.40.0 // indirect
)
