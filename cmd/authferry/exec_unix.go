//go:build unix

package main

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/authferry/authferry/keystore"
)

// become replaces this process by the command, which keeps its pid, signals, terminal and
// exit code.
func become(path string, argv, env []string) error {
	keystore.DumpAsBefore()
	err := syscall.Exec(path, argv, env) // #nosec G204 -- what exec is for
	return &childError{code: notRunnable(err), err: fmt.Errorf("%s can't be run: %w", argv[0], err)}
}

func containsName(names []string, name string) bool { return slices.Contains(names, name) }
