package main

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/serve"
)

type serveCmd struct {
	Providers []string `arg:"" optional:"" name:"provider" help:"Provider to serve; may be repeated. By default anthropic, openai and google, as far as they have accounts."`
	Account   string   `short:"a" placeholder:"ACCOUNT" help:"This account and no other: a label, PROVIDER/LABEL or id."`
	Pool      string   `short:"p" placeholder:"POOL" help:"The accounts of this pool."`
	Listen    string   `placeholder:"ADDRESS" help:"127.0.0.1:PORT, [::1]:PORT or unix:PATH. By default ${serve_address}, or the socket that systemd hands over."`
	JSON      bool     `name:"json" help:"Print a line of JSON on stdout once it listens."`
}

// Help is shown below the flags.
func (c *serveCmd) Help() string {
	return "Clients get the key of this proxy from: authferry helper proxy-key. Ctrl-C lets requests in progress finish; a second one cuts them off."
}

// drain is how long answers in progress may continue after the end.
const drain = 30 * time.Second

type listeningDoc struct {
	Event     string   `json:"event"`
	URL       string   `json:"url"`
	Providers []string `json:"providers"`
}

func (c *serveCmd) Run(a *app) error {
	// Bindings don't apply, because clients run in any directory.
	s := selection{which: which{Account: c.Account, Pool: c.Pool}}.resolve()
	s.Dir, s.DirUnknown = "", false
	served, err := servedFor(a, c.Providers, s)
	if err != nil {
		return err
	}
	unlock, err := folder.LockServe(a.ctx, a.folder)
	if err != nil {
		return err
	}
	unlock = sync.OnceFunc(unlock)
	defer unlock()
	l, err := c.listener()
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	key, url := keystore.NewSecret(rand.Text()), urlOf(l.Addr())
	door, err := openKeyDoor(a.options.Dir, url, key)
	if err != nil {
		return err
	}
	defer door.close()
	withdraw, err := folder.Announce(a.folder, folder.ProxyView{Program: folder.ServeProgram, Providers: served.names(), Pools: served.pools(), Listen: listenOf(l.Addr())})
	if err != nil {
		return err
	}
	defer withdraw()

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	for _, note := range served.notes() {
		a.term.warn(note)
	}
	proxy := newProxy(a, served, serve.Options{Key: key, Hosts: hostsOf(l.Addr()), Say: servedSentence, Strange: true})
	ctx, stop := context.WithCancel(context.WithoutCancel(a.ctx))
	defer stop()
	closed, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- proxy.Serve(ctx, &closing{Listener: l, closed: sync.OnceFunc(func() { close(closed) })}, drain)
	}()
	if c.JSON {
		if err := a.printJSON(listeningDoc{"listening", url, served.names()}); err != nil {
			return err
		}
	}
	a.term.note("listening at %s, with accounts of %s; Ctrl-C ends it", url, strings.Join(served.pools(), ", "))
	_, _ = daemon.SdNotify(true, daemon.SdNotifyReady) // where nothing listens, no client waits
	select {
	case err := <-ended:
		return &fault.Error{Code: fault.Internal, Message: "the proxy can't continue", Err: err}
	case <-signals:
	}
	door.close() // before the address is free, and under the lock: the next serve needs both
	stop()
	<-closed
	unlock()
	a.term.note("no longer listening; requests in progress have %s to finish", drain)
	select {
	case err := <-ended:
		return err
	case <-signals:
		return &fault.Error{Code: fault.Cancelled, Message: "interrupted; requests in progress were cut off"}
	}
}

// closing tells when a listener no longer listens.
type closing struct {
	net.Listener
	closed func()
}

func (c *closing) Close() error {
	err := c.Listener.Close()
	c.closed()
	return err
}

// servedSentence is the text for a client's user.
func servedSentence(t serve.Trouble) string {
	switch t.Kind {
	case serve.BadKey:
		return "authferry: the request has no valid key of this proxy, which is a new one after each start. Get it with: authferry helper proxy-key"
	case serve.BadHost, serve.FromPage:
		return "authferry: this proxy is for programs of this machine, not for web pages."
	default:
		return sentence(t)
	}
}
