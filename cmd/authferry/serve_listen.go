package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/cmd/authferry/setup"
	"github.com/authferry/authferry/serve"
)

// unixPrefix begins the address of a Unix socket.
const unixPrefix = "unix:"

// listener opens the address that was asked for, or takes the socket that systemd opened.
// It never listens beyond this machine.
func (c *serveCmd) listener() (net.Listener, error) {
	files := activation.Files(true)
	defer func() {
		for _, f := range files {
			_ = f.Close() // a listener has its own
		}
	}()
	switch {
	case len(files) > 1 || len(files) == 1 && c.Listen != "":
		return nil, &fault.Error{Code: fault.Usage, Message: "serve listens at one address; systemd's socket unit and --listen name several"}
	case len(files) == 1:
		l, err := net.FileListener(files[0])
		if err != nil {
			return nil, &fault.Error{Code: fault.Usage, Message: "what systemd handed over is not a listening stream socket", Err: err}
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // it is systemd's
		} else if addr, ok := l.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
			_ = l.Close()
			return nil, notLoopback()
		}
		return l, nil
	}
	address := c.Listen
	if address == "" {
		address = setup.DefaultListen
	}
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return listenUnix(path)
	}
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address) //nolint:noctx // it waits for nothing
	if err != nil {
		return nil, &fault.Error{Code: fault.Internal, Message: address + " can't be opened; another program, or another user's serve, may have it", Next: []fault.Remedy{{Do: serveAt, Value: "127.0.0.1:PORT"}}, Err: reasonOfListen(err)}
	}
	return l, nil
}

// checkAddress only accepts loopback addresses in numbers: a name may resolve to any
// address.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "127.0.0.1" && host != "::1" {
		return notLoopback()
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return notLoopback()
	}
	return nil
}

func notLoopback() error {
	return &fault.Error{Code: fault.Usage, Message: "serve listens on this machine only: 127.0.0.1:PORT, [::1]:PORT or unix:PATH", Next: []fault.Remedy{{Do: serveAt, Value: setup.DefaultListen}}}
}

// reasonOfListen is the system's own text; the message has the rest.
func reasonOfListen(err error) error {
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		return e.Err
	}
	return err
}

// listenUnix makes a socket that no other user can connect to. It replaces one at which
// nothing listens any more.
func listenUnix(path string) (net.Listener, error) {
	fail := func(message string, err error) (net.Listener, error) {
		return nil, &fault.Error{Code: fault.Usage, Message: message, Err: err}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fail("the socket's path is unknown", err)
	}
	if err := ownFolder(filepath.Dir(path)); err != nil {
		return fail("only you may have write access to the socket's folder", err)
	}
	switch info, err := os.Lstat(path); {
	case err != nil:
	case info.Mode().Type() != os.ModeSocket:
		return fail(path+" exists and is not a socket; it was left as it is", nil)
	default:
		if conn, err := net.Dial("unix", path); err == nil { //nolint:noctx // it is on this machine
			_ = conn.Close()
			return fail(path+" is in use by another program", nil)
		}
		if err := os.Remove(path); err != nil {
			return fail("the old socket can't be removed", err)
		}
	}
	l, err := bindUnix(path)
	if err != nil {
		return fail(path+" can't be opened", reasonOfListen(err))
	}
	return l, nil
}

// hostsOf are the values that clients send in Host. Clients of a Unix socket use a URL with
// localhost as its host.
func hostsOf(addr net.Addr) []string {
	if addr.Network() == "unix" {
		return []string{"localhost"}
	}
	return serve.HostsOf(addr)
}

// listenOf is an address in the form of --listen.
func listenOf(addr net.Addr) string {
	if addr.Network() == "unix" {
		return unixPrefix + addr.String()
	}
	return addr.String()
}

func urlOf(addr net.Addr) string {
	if addr.Network() == "unix" {
		return listenOf(addr)
	}
	return "http://" + addr.String()
}
