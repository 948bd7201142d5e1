// Package httpcache holds the rules of a shared HTTP cache as pure functions
// of a request, a stored response and a point in time. It has no clock, no
// storage and no network; an adapter supplies all three:
//
//	     request ──► Policy.AppendKey ──► (lookup) ──► Stored or nil
//	                                                        │
//	     request, Stored, now ──────► Policy.Decide ◄───────┘
//	                                       │
//	Hit ─ StaleHit ─ Validate ─ Miss ─ Head ─ Bypass ─ OnlyIfCached
//	 │        │          │        │
//	 └────┬───┘   Stored.Condition│       what to ask the origin server
//	      │              ▼        ▼
//	      │       response ──► Policy.Storable, NewStored, Freshen
//	      ▼
//	Stored.NotModified, SelectRanges      what of it the client gets
//
// A Policy is what the operator wants where there is a choice.
// The rules are those of RFC 9111 (caching), RFC 9110 (conditional and range
// requests), RFC 9213 (targeted fields), RFC 5861 (stale content), RFC 8246
// (immutable) and RFC 9211 (Cache-Status), and the words are theirs too. Where
// an RFC leaves a choice the safer one is taken and the reason stands beside
// it.
package httpcache
