// Authferry-share refreshes accounts that other machines share, and speaks to the engine of
// shared pools. Authferry runs it; people don't. It is a program of its own so that authferry
// stays quick: the engine's client takes longer to start than a token takes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/etcd"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/version"
)

type grammar struct {
	Rotate  rotateCmd  `cmd:"" help:"Refresh one account."`
	Limits  limitsCmd  `cmd:"" help:"Exchange limits with the machines of a shared pool."`
	Probe   probeCmd   `cmd:"" help:"Ask whether a caller of this machine may use a held account."`
	Call    callCmd    `cmd:"" help:"Do what one line of JSON on stdin says."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

func main() {
	keystore.DumpNoCore()
	var g grammar
	c := kong.Parse(&g, kong.Name("authferry-share"), kong.Description("The part of authferry that speaks to the engine of shared pools. authferry runs it itself."),
		kong.BindTo(context.Background(), (*context.Context)(nil)))
	if c.Run() != nil { // it was reported
		os.Exit(1)
	}
}

type versionCmd struct{}

func (*versionCmd) Run() error {
	_, err := fmt.Printf("authferry-share %s (%s)\n", version.String(), version.Commit())
	return err
}

type rotateCmd struct {
	Account string `arg:""`
	Beyond  int    `arg:""`
	ofVersion
	Rejected   bool
	Background bool
	Person     bool
	Now        bool
}

func (c *rotateCmd) Run(ctx context.Context) error {
	rotator, err := c.rotator()
	if err != nil {
		return rotation.Refuse(os.Stdout, err)
	}
	return rotator.Main(ctx, c.Account, rotation.Wish{Beyond: c.Beyond, Rejected: c.Rejected, Background: c.Background, Person: c.Person, Now: c.Now}, os.Stdout)
}

func (c *rotateCmd) rotator() (rotation.Rotator, error) {
	f, err := c.folder()
	if err != nil {
		return rotation.Rotator{}, err
	}
	return rotation.Rotator{Folder: f, Peers: share.NewPeers(dial)}, nil
}

type callCmd struct{}

func (*callCmd) Run(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return pipe.Answer(ctx, os.Stdin, os.Stdout, do)
}

// dial is a share.Dialer.
func dial(_ context.Context, c share.Connection) (engine.Engine, error) {
	return etcd.Open(etcd.Config{Endpoints: c.Endpoints, CA: []byte(c.CA), Cert: []byte(c.Cert), Key: []byte(c.Key.Reveal())})
}
