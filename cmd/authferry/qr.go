package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
	"rsc.io/qr"
)

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
