// Command authferry keeps OAuth grants and API keys in the keychain and hands
// out access tokens that are valid, to any number of programs at once.
//
// Its command line, its JSON and its exit codes are what other programs can rely on; no
// Go package of this module is.
package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	_ "github.com/authferry/authferry/cmd/authferry/single"
	"github.com/authferry/authferry/keystore"
)

func main() {
	keystore.DumpNoCore()
	ctx, cancel := context.WithCancelCause(context.Background())
	catch := sync.OnceFunc(func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		go func() { cancel(signalled{<-signals}) }()
	})
	os.Exit(run(ctx, helperArgs(os.Args[0], os.Args[1:]), streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, catch))
}

// signalled is the cause of a context that a signal ended.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }

// Is makes it the end of a context that it is.
func (s signalled) Is(err error) bool { return err == context.Canceled }

// exitCode is 128 and the signal's number, as shells have it.
func (s signalled) exitCode() int {
	if number, ok := s.Signal.(syscall.Signal); ok {
		return 128 + int(number)
	}
	return exitInterrupt
}
