// Package source reads the files in which other programs keep logins, and
// takes single entries out of them. It knows nothing of keystore or index, asks
// nobody and refreshes nothing.
//
// A file is somebody else's: what is not understood is left as it is, an entry
// is cut out of the text (nothing is written anew), and a file that is no longer
// what was read is not touched. No error holds anything of a file's content.
package source
