package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
)

type statusCmd struct{ jsonFlag }

func (c *statusCmd) Run(a *app) error {
	s, err := a.broker.Status()
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(s)
	}
	if len(s.Pools) == 0 {
		a.term.note("no account yet; add one: authferry login")
		return nil
	}
	p := newPage(a.term)
	now := time.Now()
	for _, pool := range s.Pools {
		a.warnEnding(pool.Accounts)
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
	_, err = io.WriteString(a.out, p.text.String())
	return err
}

const (
	narrowest, widest, usualWidth = 60, 200, 80
	barWidth, narrowBar           = 10, 6
)

// page is a status for people. Everything that colour or a symbol says stands
// there in words as well.
type page struct {
	text   strings.Builder
	width  int
	colour bool
	ascii  bool
}

func newPage(t *terminal) *page {
	p := &page{width: cmp.Or(t.columns(t.out), usualWidth), colour: t.colours(t.out)}
	p.width = min(max(p.width, narrowest), widest)
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := t.getenv(name); v != "" {
			p.ascii = v == "C" || v == "POSIX"
			break
		}
	}
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

// pool shows one pool: a line for each account, then why it is the one.
func (p *page) pool(pool broker.PoolView, now time.Time) {
	about := " · " + counted(len(pool.Accounts), "account")
	if pool.Name != pool.Provider {
		about = " · " + pool.Provider + about
	}
	p.line(p.bold(printable(pool.Name)) + p.dim(about))

	labels, states := 0, 0
	for _, v := range pool.Accounts {
		labels = max(labels, cells(printable(v.Label)))
		states = max(states, cells(stateText(v, now)))
	}
	labels = min(labels, p.width/3)
	for _, v := range pool.Accounts {
		p.account(v, labels, states, now)
	}
	p.wrapped("why: ", pool.Reason)
	if next, when := nextFree(pool.Accounts, now); !when.IsZero() {
		p.wrapped("next to be free: ", next+", "+humantime.Relative(when, now))
	}
	p.line("")
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

// account is one line where there is room, else the windows go below it.
func (p *page) account(v pool.AccountView, labels, states int, now time.Time) {
	const current, other = "  current  ", "           "
	mark := other
	if v.Current {
		mark = p.accent(current)
	}
	state := pad(stateText(v, now), states)
	switch v.State {
	case pool.Valid, pool.RefreshDue:
	case pool.Disabled:
		state = p.dim(state)
	case pool.Held, pool.NeedsLogin:
		state = p.bold(state)
	}
	line := mark + pad(shorten(printable(v.Label), labels), labels) + "  " + state
	room := p.width - len(current) - labels - 2 - states
	var bars []string
	taken := 0
	for _, u := range v.Usage {
		bar, size := p.bar(u)
		bars = append(bars, bar)
		taken += 2 + size
	}
	if len(bars) > 0 && taken <= room {
		p.line(line + "  " + strings.Join(bars, "  "))
	} else {
		p.line(line)
		p.row(len(current)+labels+2, v.Usage)
	}
	if b := v.Backoff; b != nil {
		for i, text := range wrap("refresh "+backoffText(b, now)+": "+printable(b.Reason), p.width-len(other)) {
			if i > 0 {
				text = "  " + text
			}
			p.line(other + text)
		}
	}
	for _, h := range v.Holds {
		if h.Scope != "*" {
			p.line(other + p.bold(shorten(printable(h.Scope), p.width/2)) + " held, " + humantime.Left(h.Until, now) + " left")
		}
	}
	if !v.EndsSoon.IsZero() {
		ends, renew := "the login ends "+humantime.Relative(v.EndsSoon, now), newHints(nil, nil).command(v.Renew)
		switch {
		case cells(other+ends+": "+renew) <= p.width:
			p.line(other + p.bold(ends) + ": " + renew)
		case cells(other+renew) <= p.width: // a command that is cut in two can't be pasted
			p.line(other + p.bold(ends) + ":")
			p.line(other + renew)
		default:
			p.line(other + p.bold(ends))
		}
	}
}

// row shows quota windows on lines of their own.
func (p *page) row(indent int, usage []pool.UsageView) {
	line, taken := "", indent
	for _, u := range usage {
		bar, size := p.bar(u)
		if line != "" && taken+size > p.width {
			p.line(strings.Repeat(" ", indent) + line)
			line, taken = "", indent
		}
		line += bar + "  "
		taken += size + 2
	}
	if line != "" {
		p.line(strings.Repeat(" ", indent) + line)
	}
}

// bar is how full a quota window is, and how many cells that takes.
func (p *page) bar(u pool.UsageView) (text string, size int) {
	long := barWidth
	if p.width < usualWidth {
		long = narrowBar
	}
	full := int(min(max(u.Used, 0), 1)*float64(long) + 0.5)
	on, off := "█", "░"
	if p.ascii {
		on, off = "#", "."
	}
	name := shorten(printable(u.Window), 16)
	number := fmt.Sprintf(" %4s", percent(u.Used))
	return name + " " + p.accent(strings.Repeat(on, full)) + p.dim(strings.Repeat(off, long-full)) + number, cells(name) + 1 + long + cells(number)
}

func percent(used float64) string { return strconv.Itoa(pool.Percent(used)) + "%" }

// usageText is a window in words.
func usageText(u pool.UsageView, now time.Time) string {
	if u.ResetsAt.IsZero() {
		return percent(u.Used)
	}
	return percent(u.Used) + ", resets " + humantime.Relative(u.ResetsAt, now)
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

// nextFree is the held account whose hold is over first.
func nextFree(accounts []pool.AccountView, now time.Time) (label string, when time.Time) {
	for _, v := range accounts {
		if v.State != pool.Held {
			continue
		}
		var until time.Time
		for _, h := range v.Holds {
			if h.Scope == "*" && h.Until.After(now) && h.Until.After(until) {
				until = h.Until
			}
		}
		if !until.IsZero() && (when.IsZero() || until.Before(when)) {
			label, when = v.Label, until
		}
	}
	return label, when
}
