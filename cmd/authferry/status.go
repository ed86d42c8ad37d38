package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/humantime"
)

type statusCmd struct {
	jsonFlag
	Watch bool `help:"Stay, and show what changes; q quits. A terminal only."`
	Short bool `help:"Print one line, for a prompt or a status bar."`
}

func (c *statusCmd) Run(a *app) error {
	if c.JSON && (c.Short || c.Watch) || c.Short && c.Watch {
		return &fault.Error{Code: fault.Usage, Message: "of --json, --short and --watch only one can be given"}
	}
	switch {
	case c.Short:
		return c.short(a)
	case c.Watch:
		return c.watch(a)
	}
	s, err := broker.Status(a.folder)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(s)
	}
	if len(s.Pools) == 0 {
		a.term.note(noAccountYet)
		return nil
	}
	for _, pool := range s.Pools {
		warnEnding(a, pool.Accounts)
	}
	p := newPage(a.term, a.term.columns(a.out))
	p.status(s, time.Now())
	_, err = io.WriteString(a.out, p.text.String())
	return err
}

const noAccountYet = "no account yet; add one: authferry login"

const (
	narrowest, widest, usualWidth, usualHeight = 60, 200, 80, 24
	barWidth                                   = 10
	beside, below                              = 11, 13 // where an account's own line begins, and those that belong to it
)

// From these on a window is shown as filling up, and as nearly used up.
const fillingUp, nearlyUsedUp = 0.7, 0.9

// page is a status for people. Everything that colour or a symbol says stands
// there in words as well.
type page struct {
	text   strings.Builder
	width  int
	colour bool
	ascii  bool
}

// newPage is one for so many columns; 0: it isn't known how many there are.
func newPage(t *terminal, columns int) *page {
	p := &page{width: cmp.Or(columns, usualWidth), colour: t.colours(t.out), ascii: t.plainLetters()}
	p.width = min(max(p.width, narrowest), widest)
	return p
}

func (p *page) paint(style, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (p *page) bold(text string) string   { return p.paint("1", text) }
func (p *page) dim(text string) string    { return p.paint("2", text) }
func (p *page) accent(text string) string { return p.paint("32", text) }

func (p *page) line(text string) {
	if p.ascii {
		text = strings.NewReplacer("·", "-", "…", "...").Replace(text)
	}
	p.text.WriteString(strings.TrimRight(text, " ") + "\n")
}

// status shows all of it.
func (p *page) status(s *broker.StatusView, now time.Time) {
	for _, pool := range s.Pools {
		p.pool(pool, now)
	}
	for _, line := range boundLines(s.Bindings) {
		p.footnote(printable(line))
	}
	for _, proxy := range s.Proxies {
		p.proxy(proxy, now)
	}
	failover, mark := "on", ""
	if !s.Failover {
		failover = "off"
	}
	if s.SwitchAt > 0 {
		mark = fmt.Sprintf(" · switch_at: %d%%", s.SwitchAt)
	}
	p.line(p.dim(fmt.Sprintf("keystore: %s · failover: %s · strategy: %s%s", s.Keystore.Kind, failover, s.Strategy, mark)))
}

// pool shows one pool: its accounts, then why it is the one that is current.
func (p *page) pool(pool broker.PoolView, now time.Time) {
	about := " · " + counted(len(pool.Accounts), "account")
	if pool.Name != pool.Provider {
		about = " · " + pool.Provider + about
	}
	p.line(p.bold(printable(pool.Name)) + p.dim(about))

	var w pageColumns
	for _, v := range pool.Accounts {
		w.label = max(w.label, cells(printable(v.Label)))
		for _, u := range v.Usage {
			w.window = max(w.window, cells(windowName(u)))
			w.used = max(w.used, cells(usageText(u, now)))
		}
	}
	w.label = min(w.label, p.width/3)
	for _, v := range pool.Accounts {
		p.account(v, w, now)
	}
	p.wrapped("why: ", pool.Reason)
	if next, hold := nextFree(pool.Accounts, now); !hold.Until.IsZero() {
		name := "next to be free: "
		if !hold.Proven {
			name = "next to be tried: "
		}
		p.wrapped(name, next+", "+humantime.Relative(hold.Until, now))
	}
	if text := probeText(pool, now); text != "" {
		p.wrapped("", text)
	}
	p.line("")
}

// probeText says who is tried next although it is held.
func probeText(pool broker.PoolView, now time.Time) string {
	if pool.Probe == nil {
		return ""
	}
	label := ""
	for _, v := range pool.Accounts {
		if v.ID == pool.Probe.Account {
			label = v.Label
		}
	}
	when := ""
	if pool.Probe.At.After(now) {
		when = " after " + humantime.At(pool.Probe.At, now)
	}
	return fmt.Sprintf("the next request%s tries %q anyway: a long limit may end early", when, label)
}

// proxy shows an authferry serve, or a run that serves a command.
func (p *page) proxy(v folder.ProxyView, now time.Time) {
	where := ""
	if v.Program == folder.ServeProgram {
		where = " at " + printable(v.Listen)
	}
	text := fmt.Sprintf("%s (pid %d)%s, since %s, with accounts of %s", cmp.Or(printable(v.Program), "a proxy"), v.PID, where, humantime.At(v.Since, now), printable(strings.Join(v.Pools, ", ")))
	p.footnote("running: " + text)
}

// footnote is said below the pools, and hangs where it is long.
func (p *page) footnote(text string) {
	for i, line := range wrap(text, p.width-2) {
		if i > 0 {
			line = "  " + line
		}
		p.line(p.dim(line))
	}
}

// pageColumns are the widths of what is below each other in a pool.
type pageColumns struct{ label, window, used int }

// account shows how it is, and below that how full its quota windows are.
func (p *page) account(v pool.AccountView, w pageColumns, now time.Time) {
	mark := strings.Repeat(" ", beside)
	if v.Current {
		mark = p.accent(pad("  current", beside))
	}
	line := mark + pad(shorten(printable(v.Label), w.label), w.label) + "  "
	taken, state := beside+w.label+2, stateAndWhy(v, now)
	switch v.State {
	case pool.NeedsLogin:
		p.command(line, taken, state, newHints(nil, nil).command(v.Renew))
	case pool.Held:
		for i, text := range wrap(state, max(p.width-taken, p.width/3)) {
			if i > 0 {
				line = strings.Repeat(" ", taken)
			}
			p.line(line + p.bold(text))
		}
	case pool.Disabled:
		p.line(line + p.dim(state))
	default:
		p.line(line + state)
	}
	p.windows(v.Usage, w, now)
	if b := v.Backoff; b != nil {
		p.hanging("refresh " + backoffText(b, now) + ": " + printable(b.Reason))
	}
	if text := seenText(v.Share, now); text != "" {
		p.hanging(printable(text))
	}
	for _, h := range v.Holds {
		if h.Scope != pool.HeldForScope {
			p.hanging(shorten(printable(h.Scope), p.width/2) + " held: " + h.Why(now))
		}
	}
	if !v.EndsSoon.IsZero() && v.State != pool.NeedsLogin {
		p.command(strings.Repeat(" ", below), below, "the login ends "+humantime.Relative(v.EndsSoon, now), newHints(nil, nil).command(v.Renew))
	}
}

// stateAndWhy is stateText with the reason of a hold.
func stateAndWhy(v pool.AccountView, now time.Time) string {
	if v.State == pool.Held {
		for _, h := range v.Holds {
			if h.Scope == pool.HeldForScope {
				return "held: " + h.Why(now)
			}
		}
	}
	return stateText(v, now)
}

// hanging shows what belongs to an account, below it.
func (p *page) hanging(text string) {
	indent := strings.Repeat(" ", below)
	if cells(text) <= p.width-below {
		p.line(indent + text)
		return
	}
	for i, line := range wrap(text, p.width-below-2) {
		if i > 0 {
			line = "  " + line
		}
		p.line(indent + line)
	}
}

// command shows what is to be done about something, behind what is on the line already: a
// command stays whole, on a line of its own if need be, so that it can be pasted.
func (p *page) command(line string, taken int, about, command string) {
	switch {
	case command == "":
		p.line(line + p.bold(about))
	case taken+cells(about+": "+command) <= p.width:
		p.line(line + p.bold(about) + ": " + command)
	default:
		p.line(line + p.bold(about) + ":")
		p.line(strings.Repeat(" ", max(min(below, p.width-cells(command)), 0)) + command)
	}
}

// windows shows how full quota windows are, beside each other where there is room.
func (p *page) windows(usage []pool.UsageView, w pageColumns, now time.Time) {
	const between = 3
	room, size := p.width-below, w.window+w.used+barWidth+4
	line, taken := "", 0
	for _, u := range usage {
		if size > room {
			p.hanging(windowName(u) + ": " + usageText(u, now))
			continue
		}
		text := p.window(u, w, now)
		if line != "" && taken+between+size > room {
			p.line(strings.Repeat(" ", below) + line)
			line, taken = "", 0
		}
		if line != "" {
			line, taken = line+strings.Repeat(" ", between), taken+between
		}
		line, taken = line+text, taken+size
	}
	if line != "" {
		p.line(strings.Repeat(" ", below) + line)
	}
}

// window is how full one is, in as many cells as any of its pool.
func (p *page) window(u pool.UsageView, w pageColumns, now time.Time) string {
	on, off := "█", "░"
	if p.ascii {
		on, off = "#", "."
	}
	style := "32"
	switch {
	case u.Used >= nearlyUsedUp:
		style = "31"
	case u.Used >= fillingUp:
		style = "33"
	}
	full := int(min(max(u.Used, 0), 1)*barWidth + 0.5)
	bar := p.paint(style, strings.Repeat(on, full)) + p.dim(strings.Repeat(off, barWidth-full))
	used := usageText(u, now)
	return pad(windowName(u), w.window) + "  " + bar + "  " + p.paint(style, used) + pad("", w.used-cells(used))
}

// windowName is what a quota window is called, in words.
func windowName(u pool.UsageView) string {
	return shorten(printable(ratelimit.WindowName(u.Window)), 20)
}

func percent(used float64) string { return strconv.Itoa(pool.Percent(used)) + "%" }

// usageText is a window in words.
func usageText(u pool.UsageView, now time.Time) string {
	if u.ResetsAt.IsZero() {
		return percent(u.Used) + " used"
	}
	return percent(u.Used) + " used, resets " + humantime.At(u.ResetsAt, now)
}

// wrapped prints a named sentence within the page's width.
func (p *page) wrapped(name, text string) {
	const indent = "  "
	for i, line := range wrap(name+printable(text), p.width-2*len(indent)) {
		if i > 0 {
			line = indent + line
		}
		p.line(p.dim(indent + line))
	}
}

// nextFree is the held account whose hold is over first, with that hold.
func nextFree(accounts []pool.AccountView, now time.Time) (label string, first pool.HoldView) {
	for _, v := range accounts {
		if v.State != pool.Held {
			continue
		}
		var last pool.HoldView
		for _, h := range v.Holds {
			if h.Scope == pool.HeldForScope && h.Until.After(now) && h.Until.After(last.Until) {
				last = h
			}
		}
		if !last.Until.IsZero() && (first.Until.IsZero() || last.Until.Before(first.Until)) {
			label, first = v.Label, last
		}
	}
	return label, first
}

// short is status --short: a word on each pool, on one line without colours. It reads the
// index and nothing else.
func (c *statusCmd) short(a *app) error {
	pools, err := broker.Pools(a.folder)
	if err != nil {
		return err
	}
	words := []string{}
	for _, p := range pools {
		words = append(words, printable(p.Name)+": "+shortText(p, time.Now()))
	}
	if len(words) == 0 {
		words = append(words, "no account yet")
	}
	between := " · "
	if a.term.plainLetters() {
		between = " - "
	}
	_, err = fmt.Fprintln(a.out, strings.Join(words, between))
	return err
}

// shortText is who a pool uses and how much of the fullest quota window is gone, or why it
// uses nobody.
func shortText(p broker.PoolView, now time.Time) string {
	state := pool.Disabled
	for _, v := range p.Accounts {
		switch {
		case v.Current && v.State == pool.NeedsLogin:
			return printable(v.Label) + " login needed"
		case v.Current:
			return printable(v.Label) + shortUsage(v.Usage)
		case v.State == pool.NeedsLogin:
			state = pool.NeedsLogin
		}
	}
	switch {
	case !p.RetryAt.IsZero():
		if _, hold := nextFree(p.Accounts, now); hold.Refused {
			return hold.Reason() + ", next try " + humantime.At(p.RetryAt, now)
		}
		return "held until " + humantime.At(p.RetryAt, now)
	case state == pool.NeedsLogin:
		return "login needed"
	}
	return "disabled"
}

// shortUsage is the fullest of an account's own windows; empty: none is known.
func shortUsage(usage []pool.UsageView) string {
	fullest := -1.0
	for _, u := range usage {
		if !ratelimit.OfOneModel(u.Window) {
			fullest = max(fullest, u.Used)
		}
	}
	if fullest < 0 {
		return ""
	}
	return " " + percent(fullest)
}
