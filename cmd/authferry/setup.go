package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/authferry/authferry/cmd/authferry/setup"
)

// thisMachine names authferry as the person does who runs it: a path on the PATH
// outlives an update, the file that it leads to may not.
func thisMachine() (setup.Machine, error) {
	m := setup.Machine{OS: runtime.GOOS, Getenv: os.Getenv, LookPath: exec.LookPath}
	var err error
	if m.Home, err = os.UserHomeDir(); err != nil {
		return m, err
	}
	if m.Binary, err = os.Executable(); err != nil {
		return m, err
	}
	if named, err := exec.LookPath("authferry"); err == nil {
		own, ownErr := os.Stat(m.Binary)
		other, otherErr := os.Stat(named)
		if ownErr == nil && otherErr == nil && os.SameFile(own, other) {
			m.Binary = named
		}
	}
	m.Binary, err = filepath.Abs(m.Binary)
	return m, err
}
