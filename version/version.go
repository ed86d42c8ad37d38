// Package version says which version of authferry a program is. Its programs run each
// other, and refuse one of another version.
package version

import (
	"runtime/debug"
	"strings"
)

// stamped and stampedCommit are what a release build sets with -ldflags -X.
var stamped, stampedCommit string

// String is the version without its "v"; "(devel)" where it is unknown.
func String() string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "(devel)"
}

// Commit is the revision of the source; "unknown" where it is.
func Commit() string {
	if stampedCommit != "" {
		return stampedCommit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
