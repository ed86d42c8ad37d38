package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
)

// careless is authferry without its guard, holding the secret on its stdin as any
// program would, and dying of a panic if it is told to.
func careless() {
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		os.Exit(1)
	}
	secret := keystore.NewSecret(strings.TrimSpace(line))
	if len(os.Args) > 1 {
		panicsWith(secret)
	}
	time.Sleep(time.Hour)
}

// panicsWith dies as os.Args[1] says, with a secret at hand.
func panicsWith(s keystore.Secret) {
	switch os.Args[1] {
	case "secret":
		panic(s)
	case "pointer":
		panic(&s)
	case "error":
		panic(fmt.Errorf("refresh of %v (%+v, %#v): %w", s, &s, []keystore.Secret{s}, io.ErrUnexpectedEOF))
	case "index":
		_ = s.Reveal()[len(s.Reveal())+len(os.Args):]
	case "plain":
		panic(s.Reveal()) // what is looked for
	}
}

// A panic tells where it happened and nothing of what was in memory, whatever
// GOTRACEBACK says.
func TestNoLeaksInPanics(t *testing.T) {
	const canary = "canary-in-memory"
	for _, how := range []string{"secret", "pointer", "error", "index", "plain"} {
		t.Run(how, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "careless", how)
			cmd.Dir = t.TempDir()
			cmd.Stdin = strings.NewReader(canary + "\n")
			cmd.Env = append(os.Environ(), "GOTRACEBACK=system")
			out, err := cmd.CombinedOutput()
			if _, died := errors.AsType[*exec.ExitError](err); !died || !bytes.Contains(out, []byte("goroutine 1 ")) {
				t.Fatalf("no panic: %v\n%s", err, out)
			}
			if found := bytes.Contains(out, []byte(canary)); found != (how == "plain") {
				t.Errorf("the secret is in the panic's text: %v\n%s", found, out)
			}
		})
	}
}
