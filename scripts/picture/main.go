// Command picture draws docs/status.svg: what `authferry status` prints, by the
// real program, for invented accounts in a folder of their own.
//
//	go generate ./scripts/picture
package main

//go:generate go run . ../../docs/status.svg

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const columns = 92

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: picture FILE.svg")
		os.Exit(2)
	}
	if err := draw(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func draw(path string) error {
	dir, err := os.MkdirTemp("", "authferry-picture-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := stage{dir: dir, program: filepath.Join(dir, "authferry")}
	build := exec.CommandContext(context.Background(), "go", "build", "-o", s.program, "github.com/authferry/authferry/cmd/authferry") // #nosec G204
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	s.prepare()
	text := s.run("", "status")
	if s.err != nil {
		return s.err
	}
	return os.WriteFile(path, svg("authferry status", string(text)), 0o644) // #nosec G306 -- a picture for everyone
}

// stage is a folder with accounts; err is the first thing that went wrong.
type stage struct {
	dir, program string
	err          error
}

func (s *stage) run(stdin string, args ...string) []byte {
	if s.err != nil {
		return nil
	}
	cmd := exec.CommandContext(context.Background(), s.program, args...) // #nosec G204
	cmd.Env = []string{"AUTHFERRY_DIR=" + filepath.Join(s.dir, "d"), "HOME=" + s.dir, "CLICOLOR_FORCE=1", "COLUMNS=" + strconv.Itoa(columns)}
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		s.err = fmt.Errorf("authferry %s: %w: %s", args[0], err, errs.String())
	}
	return out
}

// prepare has times that read the same for half a minute, so that drawing it
// again changes nothing.
func (s *stage) prepare() {
	const half = 30 * time.Second
	s.run("", "keystore", "init", "--key-file", filepath.Join(s.dir, "key"))
	s.run("", "provider", "add", "acme", "--authorization-endpoint", "https://login.acme.example/authorize",
		"--token-endpoint", "https://login.acme.example/token", "--client-id", "invented", "--api-origin", "https://api.acme.example")
	for _, a := range []struct {
		label, pool string
		left        time.Duration
	}{
		{"Personal", "acme", 6*time.Hour + 40*time.Minute + half},
		{"Family", "acme", 7*time.Hour + 56*time.Minute + half},
		{"Work", "work", 3*time.Hour + 12*time.Minute + half},
	} {
		s.run(fmt.Sprintf(`{"access_token":"invented-%s","refresh_token":"invented-%s","expires_in":%d}`, a.label, a.label, int(a.left.Seconds())),
			"import", "grant", "acme", "--label", a.label, "--pool", a.pool)
	}
	s.answered("Work", 200, "0.18", 3*time.Hour+half, "0.07", 100*time.Hour)
	s.answered("Family", 200, "0.34", 4*time.Hour+half, "0.12", 90*time.Hour)
	s.answered("Personal", 429, "1.00", 72*time.Minute+half, "0.64", 50*time.Hour)
}

// answered reports an answer of the API as a program that uses it would.
func (s *stage) answered(label string, status int, hours string, hoursEnd time.Duration, week string, weekEnd time.Duration) {
	var token struct {
		Lease string `json:"lease"`
	}
	if out := s.run("", "token", "--account", label, "--json"); s.err == nil {
		s.err = json.Unmarshal(out, &token)
	}
	verdict := "allowed"
	if status == 429 {
		verdict = "rejected"
	}
	const prefix = "anthropic-ratelimit-unified-"
	at := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	report, err := json.Marshal(map[string]any{"lease": token.Lease, "status": status, "headers": map[string]string{
		prefix + "status": verdict, prefix + "5h-status": verdict, prefix + "5h-utilization": hours, prefix + "5h-reset": at(hoursEnd),
		prefix + "7d-status": "allowed", prefix + "7d-utilization": week, prefix + "7d-reset": at(weekEnd),
	}})
	if err != nil {
		s.err = err
	}
	s.run(string(report), "report")
}

// styles are how the picture shows what the program says by escape sequences.
var styles = map[string]string{
	"":   `fill="#d6deeb"`,
	"1":  `fill="#ffffff" font-weight="bold"`,
	"2":  `fill="#7f8ea3"`,
	"32": `fill="#7fd88f"`,
}

// svg draws text as a terminal shows it. Each word is placed by its
// column, so that no font can shift it.
func svg(title, text string) []byte {
	const cell, lineHeight, margin, top = 8.43, 20, 20, 52
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	wide, high := columns*17/2+2*margin, top+len(lines)*lineHeight+margin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", wide, high, wide, high, html.EscapeString(title))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#0f1720"/>`+"\n", wide, high)
	fmt.Fprintln(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14">`)
	fmt.Fprintf(&b, `<text x="%d" y="30" %s>$ %s</text>`+"\n", margin, styles["2"], html.EscapeString(title))
	for i, line := range lines {
		column, style := 0, ""
		for piece := range strings.SplitSeq("\x1b[m"+line, "\x1b[") {
			code, run, ok := strings.Cut(piece, "m")
			if !ok {
				continue
			}
			if style = code; style == "0" {
				style = ""
			}
			for word := range strings.SplitAfterSeq(run, " ") {
				text, size := strings.TrimSpace(word), utf8.RuneCountInString(word)
				if text != "" {
					fmt.Fprintf(&b, `<text x="%.1f" y="%d" %s>%s</text>`+"\n", margin+float64(column)*cell, top+i*lineHeight+8, styles[style], html.EscapeString(text))
				}
				column += size
			}
		}
	}
	fmt.Fprintln(&b, "</g>\n</svg>")
	return b.Bytes()
}
