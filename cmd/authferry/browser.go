package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/term"
	"rsc.io/qr"

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

// showQR draws text for a phone's camera, if the terminal has colours and room for it:
// without colours it is unknown what is dark.
func (t *terminal) showQR(text string) {
	f, ok := t.err.(*os.File)
	if !ok || text == "" || t.quiet || !isTerminal(t.err) || !t.colours(t.err) || !t.unicode() {
		return
	}
	code, err := qr.Encode(text, qr.L)
	width, height, sizeErr := term.GetSize(int(f.Fd())) // #nosec G115 -- a file descriptor is small
	if err != nil || sizeErr != nil || width < code.Size+2*qrQuiet || height < code.Size/2+qrQuiet {
		return
	}
	_, _ = fmt.Fprint(t.err, drawQR(code))
}

// unicode reports whether the terminal's locale has half blocks.
func (t *terminal) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := t.getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return t.getenv("WT_SESSION") != "" // Windows Terminal sets no locale
}

// qrQuiet is the light border, in modules; two of the standard's four are enough for
// cameras.
const qrQuiet = 2

// drawQR draws two modules in each character, black on white.
func drawQR(code *qr.Code) string {
	var b strings.Builder
	for y := -qrQuiet; y < code.Size+qrQuiet; y += 2 {
		b.WriteString("\x1b[30;107m")
		for x := -qrQuiet; x < code.Size+qrQuiet; x++ {
			switch upper, lower := code.Black(x, y), code.Black(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}
