// Package source reads the files in which other programs store logins, and removes single
// entries from them. It knows nothing of keystore or index, and refreshes nothing.
//
// The files belong to other programs: what is not understood stays as it is, an entry is
// cut out of the text and the rest is not rewritten, and a file that has changed since it
// was read is not touched. No error quotes a file's content.
package source
