// Package etcdfeed carries the health feed over etcd, where one machine is
// outgrown. Every prober writes its own record, every reader merges them all; no
// member is a leader and nobody is elected.
//
//	prober ──► PREFIX/obs/PROBER ─────────────┐   one lease for a process
//	hub ─────► PREFIX/override/PROBER ────────┤
//	operator ► PREFIX/inventory ──────────────┤
//	           PREFIX/policy/REGION/SERVICE ──┼─► list, then watch ─► Feed, Documents
//	           PREFIX/notice/KIND ────────────┘
//
// A value below obs is a [healthfeed.Snapshot] of one record, the same bytes that a
// file or a hub carries, gzip above 4 kB. It is written when a vote changes and
// every 5 s. The lease ends 15 s after a prober is last heard, and takes the key
// away; readers go by the age of the record that they have, as with every transport,
// so a key that is gone takes no vote back: its prober abstains when the record is
// too old.
//
// A watch may end without a word. So the reader asks for a sign of life every 5 s,
// begins again after 15 s without one, demands that its member has a leader, and
// lists everything anew on any doubt and every five minutes. While etcd is away the
// Feed goes on with what it has, and so it does when etcd comes back with less.
package etcdfeed
