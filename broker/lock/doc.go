// Package lock has the kernel locks of a folder, who holds them, and the one list of
// the order in which they are taken (order.go).
//
// Locks are kernel locks on files in locks/ that are never deleted, so a dead holder
// holds nothing, no lock has an age, and a crash leaves nothing. Their paths depend on
// the folder alone. Others delete the files all the same (cleaners, rsync --delete), and
// then two processes have one lock; so no lock alone is believed: Confirm tells, just
// before what it guards is done.
//
// A process has a name as well (ThisProcess), by which others tell that it lives: what
// it wrote about itself counts as its lock where that may be lost.
package lock
