// Package lock has the kernel locks of a folder, the names of their holders, and the one
// list of the order in which they are taken (order.go).
//
// A lock is a kernel lock on a file in locks/. These files are never deleted by authferry.
// A process that dies loses its locks at once: a lock has no age, and a crash leaves none
// behind. A lock's path depends on the folder alone.
//
// Other programs may delete the files all the same (cleaners, rsync --delete), and then two
// processes can each hold "the" lock. So holding a lock is not enough: Confirm checks, just
// before the step that the lock protects, that the locked file is still the one at its
// path.
//
// A process also has a name (ThisProcess) that is never given to another one. What a
// process wrote about itself under that name counts as its lock while it lives, in the
// places where a lock's file may be lost.
package lock
