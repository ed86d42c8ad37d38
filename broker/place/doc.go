// Package place finds the binding that applies to a working directory.
//
// "Unknown" is not "unbound". Where a provider has bindings and it can't be told whether
// one applies to the working directory, the error is Fenced, and no token of that provider
// is handed out.
//
// Paths are compared as text first, which is mostly enough. Otherwise the system's table of
// mounts says at which other paths the directory appears, and which bound paths are on a
// file server. Those on a server are never accessed; the others are compared as files. A
// binding outlives its account, its pool and its directory: only a person removes it.
package place
