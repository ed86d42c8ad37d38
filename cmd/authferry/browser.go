package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"os/exec"
	"runtime"
	"strings"

	"github.com/authferry/authferry/keystore"
)

// openBrowser opens an https or loopback address in the browser that $BROWSER names, else
// in the desktop's. What the browser prints goes to out, because stdout is only for the
// result. It doesn't wait for the browser.
func openBrowser(address string, getenv func(string) string, out io.Writer) error {
	if !isWebPage(address) {
		return errors.New("the address is neither https nor of this machine")
	}
	name, args := getenv("BROWSER"), []string{address}
	switch {
	case name != "":
	case !hasDisplay(getenv):
		return errors.New("there is no display")
	case runtime.GOOS == "darwin":
		name = "open"
	case runtime.GOOS == "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", address}
	default:
		name = "xdg-open"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return errors.New(name + " is not installed")
	}
	cmd := exec.CommandContext(context.Background(), path, args...) // it outlives this program
	cmd.Stdout, cmd.Stderr = out, out
	keystore.DumpAsBefore() // inherited by the browser
	err = cmd.Start()
	keystore.DumpNoCore()
	if err != nil {
		return errors.New(name + " did not start")
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

func isWebPage(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (strings.EqualFold(u.Hostname(), "localhost") || err == nil && ip.Unmap().IsLoopback())
}
