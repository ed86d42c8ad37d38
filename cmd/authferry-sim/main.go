// Command authferry-sim is an authorization server for trying authferry out: it
// rotates refresh tokens like the strictest providers, breaks on request, and
// keeps a ledger of what it saw. "authferry-sim demo" shows the two together.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type grammar struct {
	Serve  serveCmd  `cmd:"" help:"Run the authorization server until Ctrl-C."`
	Client clientCmd `cmd:"" hidden:""`
	Demo   demoCmd   `cmd:"" help:"Build authferry and show what it does when many programs want one token."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], newScreen(os.Stdout), newScreen(os.Stderr))
	stop()
	os.Exit(code)
}

// exit unwinds to run when kong ends the program by itself, after --help.
type exit int

// run returns the exit code: 1 for any failure, 80 for usage, 130 when ctx ends.
func run(ctx context.Context, args []string, out, err *screen) (code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exit:
			code = int(r)
		default:
			panic(r)
		}
	}()
	var g grammar
	parser := kong.Must(&g, kong.Name("authferry-sim"),
		kong.Description("An authorization server for trying authferry out, on this machine alone."),
		kong.Writers(out, err), kong.Exit(func(c int) { panic(exit(c)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Vars{"dialects": dialects()})
	parsed, problem := parser.Parse(args)
	if problem != nil {
		fmt.Fprintf(err, "authferry-sim: error: %v\nauthferry-sim: hint: authferry-sim --help\n", problem)
		return 80
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	problem = parsed.Run(out)
	switch {
	case ctx.Err() != nil:
		return 130
	case problem == nil:
		return 0
	case !errors.Is(problem, errClaims):
		fmt.Fprintf(err, "authferry-sim: error: %v\n", problem)
	}
	return 1
}
