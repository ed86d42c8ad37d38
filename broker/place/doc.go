// Package place tells for which binding a working directory counts.
//
// "Not known" is not "not bound": where a provider has bindings and nobody can tell
// whether one is for the working directory, the error is fenced, and nothing is handed
// out for that provider. Paths are compared first, and mostly decide. Else the system's
// table of mounts says at which other paths the directory is to be seen, and which
// bound paths lead to a file server; those are not looked at, the others are compared
// as files. A binding outlives its account, its pool and its directory, and is taken
// out by a person alone.
package place
