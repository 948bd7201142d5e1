// Package drills breaks things around whole programs: disks that are full, files that are
// torn, processes that stand still, networks that are cut. There are name servers and the
// edges that they probe; while something breaks clients ask all the time and somebody
// watches every hub:
//
//	clients ──► CoreDNS ×n ──► edges        a disk, a process or a link breaks
//	watchers ─► /v1/nodes                   every query is answered with the nearest
//	                                        edge, and no node is down for lack of data
//
// The drills of etcd alone are with package etcdfeed; doc/design/0027-drills.md has the list of all.
package drills
