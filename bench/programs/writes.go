//go:build ignore

// Writes is the keychain's part of one rotation, by the library that authferry
// uses and nothing else: four records are looked for; then a trial value and two
// records are written, each after a look at what was there, and read back.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/zalando/go-keyring"
)

func main() {
	if err := run("authferry-bench-writes", strings.Repeat("x", 800)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(service, value string) error {
	for _, slot := range []string{"a", "b", "c", "d"} {
		if err := look(service, slot); err != nil {
			return err
		}
	}
	for _, item := range []string{"probe", "a", "b"} {
		err := errors.Join(look(service, item+"#1"), keyring.Set(service, item, value), look(service, item))
		if err != nil {
			return err
		}
	}
	return nil
}

// look reads an item that may be missing.
func look(service, item string) error {
	_, err := keyring.Get(service, item)
	if errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return err
}
