// Package healthfeed is the one truth about the edge that DNS servers and edge
// nodes share: which nodes exist, which of them can take clients, how loaded and
// how far they are.
//
// Two kinds of data with two kinds of owner flow in, one immutable table comes
// out:
//
//	operator ── nodes.json ──► Inventory ─┐
//	                                      ├─► Merge ─► Table ──► atomic pointer
//	probers ─── Record (votes) ─► Seen ───┘             │
//	                                                    ├─► DNS steering
//	                                                    └─► edges (shed, parents)
//
// An [Inventory] is what the operator declares. A [Record] is what one prober
// sees; it can name only nodes of the inventory, so the feed can never introduce
// an address. [Merge] is a pure function: the same inventory, records and time
// give the same [Table] everywhere, in whatever order the records came. Missing
// data means abstain, never down. The operator's word always wins.
//
// Data grows old by this process's own clock, never by comparing the clocks of
// others. With the usual TTL of 15 s, a Table is fresh until 15 s after the last
// record, frozen until 45 s, last known good for five minutes more, and static
// afterwards, when every node takes clients that the operator does not hold back.
//
// A [Feed] is the running thing in one process: it holds the newest record of
// each prober, calls Merge, and publishes the Table behind an atomic pointer.
// What brings data into a Feed is a [Source]: the prober of package probe, a
// file ([FromFile]), or another process ([FromURL]). A [Hub] serves what a Feed
// knows to others, who are told of each change as it comes. With an identity, a prober
// signs its records and readers believe no others ([Signed]). All transports carry the
// same bytes, a [Snapshot], or a part of one: records are whole, so whatever arrives
// is taken for what it says, and what is missing changes nothing.
package healthfeed
