package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore"
)

// The key of a serve is only in its memory. Whoever can connect to a socket in the folder,
// which only its owner can, gets it there while serve listens.

// keyDoor is the socket that hands out the key.
type keyDoor struct {
	l     net.Listener
	close func()
}

// openKeyDoor must be called with the folder's serve lock held: it removes the socket of an
// earlier serve.
func openKeyDoor(dir, url string, key keystore.Secret) (*keyDoor, error) {
	var l net.Listener
	err := nearKeySocket(dir, func(path string) (err error) {
		if info, statErr := os.Lstat(path); statErr == nil && info.Mode().Type() != os.ModeSocket {
			return errors.New(folder.ServeSocket + " in the folder's locks is not a socket")
		}
		_ = os.Remove(path)
		l, err = bindUnix(path)
		return err
	})
	if err != nil {
		return nil, &fault.Error{Code: fault.Internal, Message: "can't make the socket in the folder that clients get the key from", Err: reasonOfListen(err)}
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // its path may be relative to "here", to be short
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, url+"\n"+key.Reveal()+"\n")
			_ = conn.Close()
		}
	}()
	return &keyDoor{l, sync.OnceFunc(func() {
		_ = os.Remove(filepath.Join(lock.Folder(dir), folder.ServeSocket))
		_ = l.Close()
	})}, nil
}

// maxSocketPath is the length that every system accepts.
const maxSocketPath = 100

// nearKeySocket calls do with a path of the socket that is short enough. For that it may
// have to change the working directory, so nothing else may run meanwhile.
func nearKeySocket(dir string, do func(path string) error) (err error) {
	dir = lock.Folder(dir)
	if path := filepath.Join(dir, folder.ServeSocket); len(path) <= maxSocketPath {
		return do(path)
	}
	was, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Chdir(was)) }()
	return do(folder.ServeSocket)
}

// knockForKey asks the folder's serve for its key and address; an error: none listens.
func knockForKey(ctx context.Context, dir string) (url string, key keystore.Secret, err error) {
	err = nearKeySocket(dir, func(path string) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path) // #nosec G704 -- a socket of the folder
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		said := bufio.NewReader(io.LimitReader(conn, 4096))
		var line string
		if url, err = said.ReadString('\n'); err == nil {
			line, err = said.ReadString('\n')
		}
		url, key = strings.TrimSuffix(url, "\n"), keystore.NewSecret(strings.TrimSuffix(line, "\n"))
		return err
	})
	return url, key, err
}

// proxyKeyCmd is for clients that run a command to get a key. URL is where the client will
// send the key: if serve listens elsewhere, another program may be there.
type proxyKeyCmd struct {
	URL string `arg:"" optional:"" help:"Print it only if serve listens at this URL, as http://127.0.0.1:8417."`
}

// How long proxy-key waits: for a serve that was told to end and has answers in progress,
// after which systemd starts the next one; and for one that systemd starts because its
// socket was connected to.
const (
	waitForNext  = drain + 15*time.Second
	waitForStart = 5 * time.Second
)

func (c *proxyKeyCmd) Run(a *app) error {
	asked := time.Now()
	for {
		url, key, err := knockForKey(a.ctx, a.options.Dir)
		switch {
		case err == nil && c.URL != "" && strings.TrimSuffix(c.URL, "/") != url:
			return c.fail(a, "authferry serve listens at "+url+", not at "+c.URL, strings.TrimPrefix(c.URL, "http://"))
		case err == nil:
			_, err = fmt.Fprintln(a.out, key.Reveal())
			return err
		}
		left := time.Until(asked.Add(c.patience(a)))
		if left <= 0 {
			return c.fail(a, "no authferry serve listens for this folder", "")
		}
		select {
		case <-time.After(min(left, 50*time.Millisecond)):
		case <-a.ctx.Done():
			return errInterrupted
		}
	}
}

// patience is how long a serve may take to start.
func (c *proxyKeyCmd) patience(a *app) time.Duration {
	if slices.ContainsFunc(folder.Proxies(a.folder), func(v folder.ProxyView) bool { return v.Program == folder.ServeProgram }) {
		return waitForNext
	}
	address, ok := strings.CutPrefix(c.URL, "http://")
	if !ok || checkAddress(strings.TrimSuffix(address, "/")) != nil {
		return 0
	}
	conn, err := new(net.Dialer).DialContext(a.ctx, "tcp", strings.TrimSuffix(address, "/")) // #nosec G704 -- on this machine
	if err != nil {
		return 0
	}
	_ = conn.Close() // nothing was sent
	return waitForStart
}

func (c *proxyKeyCmd) fail(a *app, message, address string) error {
	return inALine(a, &fault.Error{Code: fault.ProviderUnreachable, Message: message, Next: []fault.Remedy{{Do: serveAt, Value: address}}})
}
