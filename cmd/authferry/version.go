package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// stamped and stampedCommit are what a release build sets with -ldflags -X.
var stamped, stampedCommit string

func version() string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "(devel)"
}

func commit() string {
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

type versionCmd struct{ jsonFlag }

type versionDoc struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (c *versionCmd) Run(a *app) error {
	doc := versionDoc{version(), commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
	if c.JSON {
		return a.printJSON(doc)
	}
	_, err := fmt.Fprintf(a.out, "authferry %s (%s, %s, %s/%s)\n", doc.Version, doc.Commit, doc.Go, doc.OS, doc.Arch)
	return err
}
