package main

import (
	"fmt"
	"runtime"

	"github.com/authferry/authferry/version"
)

type versionCmd struct{ jsonFlag }

type versionDoc struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (c *versionCmd) Run(a *app) error {
	doc := versionDoc{version.String(), version.Commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
	if c.JSON {
		return a.printJSON(doc)
	}
	_, err := fmt.Fprintf(a.out, "authferry %s (%s, %s, %s/%s)\n", doc.Version, doc.Commit, doc.Go, doc.OS, doc.Arch)
	return err
}
