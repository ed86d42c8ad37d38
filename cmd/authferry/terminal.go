package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/rawtext"
)

// The rules of output. The result of a command goes to stdout, and nothing else does.
// Messages for people go to stderr, a line each: "authferry: error: …", "authferry: hint:
// …" or "authferry: warning: …". Colour is only used on a terminal, and never the only sign
// of anything. Text from outside is made printable before it is shown.

// terminal is where people read.
type terminal struct {
	out, err io.Writer
	quiet    bool
	noInput  bool
	live     bool // a person watches the progress
	// interrupted: a signal ended the command.
	interrupted bool
	env         []string
	progress    progress
	hints       hints
}

func newTerminal(s streams, env []string) *terminal {
	return &terminal{out: s.out, err: s.err, env: env}
}

func (t *terminal) getenv(name string) string {
	for _, e := range slices.Backward(t.env) {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// isTerminal reports whether w is one.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) // #nosec G115 -- a file descriptor is small
}

// input is stdin, but a read ends with an interrupt: otherwise a silent terminal or pipe
// would outlast every Ctrl-C.
func (a *app) input() io.Reader { return interruptible{a.ctx, a.in} }

type interruptible struct {
	ctx context.Context
	in  io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data := make([]byte, len(p))
		n, err := r.in.Read(data)
		done <- result{data[:n], err}
	}()
	select {
	case got := <-done:
		return copy(p, got.data), got.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// askHidden reads a line from the terminal without showing it; what names it.
func (a *app) askHidden(prompt, what string) (keystore.Secret, error) {
	f, ok := a.in.(*os.File)
	if !ok {
		return keystore.Secret{}, &fault.Error{Code: fault.Usage, Message: "stdin is not a terminal"}
	}
	fd := int(f.Fd()) // #nosec G115 -- a file descriptor is small
	before, err := term.GetState(fd)
	if err != nil {
		return keystore.Secret{}, &fault.Error{Code: fault.Usage, Message: "the terminal can't be read", Err: err}
	}
	defer func() { _, _ = fmt.Fprintln(a.err) }()
	type result struct {
		line []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := readHidden(f, func() { _, _ = fmt.Fprint(a.err, prompt) })
		done <- result{line, err}
	}()
	select {
	case got := <-done:
		if got.err != nil || len(got.line) == 0 {
			return keystore.Secret{}, declined()
		}
		line, err := rawtext.Line(got.line)
		if err != nil {
			return keystore.Secret{}, badSecret(what, err)
		}
		return keystore.NewSecret(line), nil
	case <-a.ctx.Done():
		_ = term.Restore(fd, before) // else the shell shows no typing
		return keystore.Secret{}, declined()
	}
}

// personPresent reports whether somebody could answer a keychain's prompt.
func (t *terminal) personPresent() bool {
	return isTerminal(t.err) || hasDisplay(t.getenv)
}

// hasDisplay reports whether a window opened here would be seen.
func hasDisplay(getenv func(string) string) bool {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return getenv("SSH_CONNECTION") == ""
	}
	return getenv("DISPLAY") != "" || getenv("WAYLAND_DISPLAY") != ""
}

// colours reports whether colours may be written to w.
func (t *terminal) colours(w io.Writer) bool {
	switch {
	case t.getenv("NO_COLOR") != "":
		return false
	case t.getenv("CLICOLOR_FORCE") != "" && t.getenv("CLICOLOR_FORCE") != "0":
		return true
	case t.getenv("CLICOLOR") == "0":
		return false
	}
	return isTerminal(w) && t.getenv("TERM") != "dumb"
}

// columns is the width of w: COLUMNS, else the terminal's; 0: it is not a terminal.
func (t *terminal) columns(w any) int {
	if n, err := strconv.Atoi(t.getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil { // #nosec G115 -- a file descriptor is small
			return n
		}
	}
	return 0
}

// plainLetters reports that only ASCII can be shown.
func (t *terminal) plainLetters() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := t.getenv(name); v != "" {
			return v == "C" || v == "POSIX"
		}
	}
	return false
}

func (t *terminal) say(kind, message string) {
	t.write("authferry: " + kind + ": " + printable(message))
}

func (t *terminal) warn(message string, next ...fault.Remedy) {
	if !t.quiet {
		t.say("warning", message)
		t.hint(t.hints.lines(next))
	}
}

// note tells of progress, or of a result that has no document.
func (t *terminal) note(format string, args ...any) {
	if !t.quiet {
		t.write(printable(fmt.Sprintf(format, args...)))
	}
}

type errorDoc struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`           // for people; the words may change
	Hint    string     `json:"hint,omitempty"`    // the commands to run next, a line each
	RetryAt time.Time  `json:"retry_at,omitzero"` // when trying again helps
	Refused bool       `json:"refused,omitempty"` // all_held: the API refuses the tokens; it is no limit
}

// up rounds up to whole seconds, so that nobody comes back too early.
func up(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(time.Second - 1).UTC().Truncate(time.Second)
}

func newErrorBody(e *fault.Error, hint string) errorBody {
	return errorBody{Code: e.Code, Message: e.Error(), Hint: hint, RetryAt: up(e.RetryAt), Refused: e.Refused}
}

// hint shows commands, a line each.
func (t *terminal) hint(commands string) {
	for command := range strings.Lines(commands) {
		t.say("hint", strings.TrimSuffix(command, "\n"))
	}
}

// unchanged is what a person reads after declining: that is no error.
const unchanged = "nothing was changed"

// fail prints err as text, and with asJSON as a document too, and returns the exit code.
func (t *terminal) fail(err error, asJSON bool) int {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		e = &fault.Error{Code: fault.Internal, Message: err.Error()}
	}
	hint := t.hints.of(e)
	switch {
	case e.Code == fault.Cancelled && t.interrupted:
		hint = t.calmly(e)
	case e.Code == fault.Cancelled && e.Message == unchanged:
		t.write(unchanged)
	default:
		t.say("error", e.Error())
		t.hint(hint)
	}
	if asJSON {
		_ = printJSON(t.out, errorDoc{newErrorBody(e, hint)})
	}
	if code, ok := exitCodes[e.Code]; ok {
		return code
	}
	return exitOther
}

// calmly tells whoever interrupted the command what became of it and, on the same line, how
// to go on: that is no error. It returns the hint.
func (t *terminal) calmly(e *fault.Error) (hint string) {
	text, wiped := printable(e.Error()), ""
	if !strings.HasPrefix(text, "interrupted") {
		text = "interrupted; " + text
	}
	if len(e.Next) > 0 {
		hint = t.hints.of(e)
	} else if own, words := t.hints.given(); own != nil && len(words) > 0 && words[0] != "helper" {
		hint = own.line(t.hints)
	}
	if hint != "" {
		first, _, _ := strings.Cut(hint, "\n")
		text += "; try again: " + printable(first)
	}
	if isTerminal(t.err) && t.getenv("TERM") != "dumb" {
		wiped = "\r\x1b[K" // the ^C
	}
	t.write(wiped + text)
	return hint
}

// show prints a table.
func (a *app) show(t *table) error { return t.print(a.out, a.term.columns(a.out)) }

func (a *app) printJSON(doc any) error { return printJSON(a.out, doc) }

func printJSON(w io.Writer, doc any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

// printable escapes characters that move the cursor, hide text or end a line.
func printable(s string) string {
	safe := func(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }
	if !strings.ContainsFunc(s, func(r rune) bool { return !safe(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case safe(r):
			b.WriteRune(r)
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}
