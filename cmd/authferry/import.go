package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/takeover"
	"github.com/authferry/authferry/broker/takeover/source"
)

// importFileCmd is `authferry import PROGRAM`; kong knows the program.
type importFileCmd struct {
	jsonFlag
	Path     string `arg:"" optional:"" help:"The program's file, if it is not at its usual place."`
	Move     bool   `xor:"how" help:"Take the logins out of the program's file."`
	Keep     bool   `xor:"how" help:"Leave them there as well; two programs then own one login."`
	DryRun   bool   `help:"Only show what would be taken, and why the rest would not."`
	ClientID string `name:"client-id" placeholder:"ID" help:"Client that the logins were issued to; the provider's by default."`
}

// Help is shown by --help.
func (c *importFileCmd) Help() string {
	return `With --move every login is stored and read back before the program's file loses
it; whatever else is in that file stays. Close the program first. With --keep the
file stays as it is, and whichever program refreshes first logs the other out.
Without either flag you are asked.

No login is refreshed to see whether it still works.`
}

func (c *importFileCmd) Run(a *app, k *kong.Context) error {
	program, ok := source.Find(k.Selected().Name)
	if !ok {
		return fmt.Errorf("no such program: %s", k.Selected().Name)
	}
	return c.run(a, program)
}

func (c *importFileCmd) run(a *app, program source.Source) error {
	reqs := c.requests(program)
	if c.DryRun {
		return c.preview(a, reqs)
	}
	if !c.Move && !c.Keep {
		if err := c.choose(a, reqs); err != nil {
			return err
		}
		for i := range reqs {
			reqs[i].Keep = c.Keep
		}
	}
	views, skipped := []pool.AccountView{}, []skippedDoc{}
	var failed []error
	for _, req := range reqs {
		done, err := takeover.Run(a.ctx, a.folder, req)
		failed = append(failed, err)
		if done == nil {
			continue
		}
		skipped = append(skipped, a.term.skipped(done.Skipped)...)
		for i := range done.Accounts {
			views = append(views, broker.ViewOf(a.folder, &done.Accounts[i]))
		}
		c.tell(a, done)
	}
	pools := map[string]bool{}
	for _, v := range views {
		if !pools[v.Pool] {
			pools[v.Pool] = true
			enterShared(a, v.Pool)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(importedDoc{views, skipped})
	}
	return nil
}

// requests are one for each place in which the program has something.
func (c *importFileCmd) requests(program source.Source) []takeover.Request {
	req := takeover.Request{Source: program, Path: c.Path, Keep: c.Keep, ClientID: c.ClientID}
	if c.Path != "" {
		if abs, err := filepath.Abs(c.Path); err == nil {
			req.Path = abs
		}
		return []takeover.Request{req}
	}
	var reqs []takeover.Request
	for _, req.Path = range program.Present() {
		reqs = append(reqs, req)
	}
	if reqs == nil { // the keychain's item, or an error that names the places
		req.Path = ""
		reqs = append(reqs, req)
	}
	return reqs
}

// tell says in words what was done.
func (c *importFileCmd) tell(a *app, done *takeover.Outcome) {
	for _, s := range done.Skipped {
		a.term.note("skipped %q: %s", s.Entry, s.Reason)
		a.term.hint(a.term.hints.lines(s.Next))
	}
	for i := range done.Accounts {
		acc := &done.Accounts[i]
		for _, l := range done.Logins {
			if l.Label == acc.Label && l.Provider == acc.Provider && l.Was != "" {
				a.term.note("the label %q is taken or invalid: the account is called %q", l.Was, l.Label)
			}
		}
		welcome(a, acc.Provider, acc.Label)
		noteEnd(a, broker.ViewOf(a.folder, acc))
	}
	switch {
	case len(done.Accounts) == 0 && done.Removed == 0:
		a.term.note("nothing was taken over from %s", done.Path)
	case c.Keep && !slices.ContainsFunc(done.Accounts, func(acc index.Account) bool { return acc.Kind == index.KindOAuth }):
		a.term.warn(done.Path+" still has them, for every program to read", done.Finish)
	case c.Keep && !slices.ContainsFunc(done.Accounts, func(acc index.Account) bool { return acc.Fingerprint != "" }):
		a.term.note("%s stays as it is: %s goes on refreshing what it has there", done.Path, done.Title)
	case c.Keep:
		a.term.warn(done.Path+" still has these logins: whichever program refreshes first logs the other out", done.Finish)
	case done.Removed > 0:
		a.term.note("%s no longer has them; to log %s in again:", done.Path, done.Title)
		a.term.note("%s", done.LogIn)
	}
}

// skippedDoc is the JSON of a login that is not taken.
type importedDoc struct {
	Accounts []pool.AccountView `json:"accounts"`
	Skipped  []skippedDoc       `json:"skipped"`
}

// plannedDoc is the JSON of --dry-run.
type plannedDoc struct {
	Accounts []takeover.Login `json:"accounts"`
	Skipped  []skippedDoc     `json:"skipped"`
}

type skippedDoc struct {
	Entry  string `json:"entry"`
	Reason string `json:"reason"`
}

func (t *terminal) skipped(all []takeover.Skipped) (docs []skippedDoc) {
	for _, s := range all {
		reason := s.Reason
		if hint := t.hints.lines(s.Next); hint != "" {
			reason += ": " + hint
		}
		docs = append(docs, skippedDoc{s.Entry, reason})
	}
	return docs
}

// preview shows what would be done; it changes nothing.
func (c *importFileCmd) preview(a *app, reqs []takeover.Request) error {
	logins, skipped := []takeover.Login{}, []skippedDoc{}
	for _, req := range reqs {
		plan, err := takeover.Plan(a.ctx, a.folder, req)
		if err != nil {
			return err
		}
		logins, skipped = append(logins, plan.Logins...), append(skipped, a.term.skipped(plan.Skipped)...)
		if !c.JSON {
			t := a.term.planTable(plan)
			if err := a.show(t); err != nil {
				return err
			}
		}
	}
	if !c.JSON {
		return nil
	}
	return a.printJSON(plannedDoc{logins, skipped})
}

func (t *terminal) planTable(plan *takeover.Outcome) *table {
	h := t.hints
	rows := newTable()
	rows.add(plan.Title + ": " + plan.Path)
	for _, l := range plan.Logins {
		as := fmt.Sprintf("becomes account %q of %s", l.Label, l.Provider)
		if l.Was != "" {
			as += fmt.Sprintf(" (%q is taken or invalid)", l.Was)
		}
		if l.NoRefresh {
			as += ", which ends " + endText(l.ExpiresAt, time.Now())
		}
		rows.add("  "+l.Entry, as)
	}
	for _, s := range plan.Skipped {
		rows.add("  "+s.Entry, "skipped: "+s.Reason)
		for hint := range strings.Lines(h.lines(s.Next)) {
			rows.add("", strings.TrimSuffix(hint, "\n"))
		}
	}
	if len(plan.Logins)+len(plan.Skipped) == 0 {
		rows.add("  no logins")
	}
	for _, advice := range plan.Advice {
		rows.add(advice.Text)
		rows.add("  " + h.command(advice.Next))
	}
	return rows
}

// choose asks whether to move or keep the logins, if there is a choice. If none can be
// taken, the messages after it say why.
func (c *importFileCmd) choose(a *app, reqs []takeover.Request) error {
	question, flags := "Move them here, keep them in both places, or leave it? [move/keep/N]", []string{"move", "keep"}
	idle, plans, err := c.plans(a, reqs, false)
	if err != nil {
		return err
	}
	if idle {
		question, flags = "Keep them in both places until they end, or leave it? [keep/N]", []string{"keep"}
		if idle, plans, err = c.plans(a, reqs, true); err != nil {
			return err
		}
	}
	advised := slices.ContainsFunc(plans, func(p *takeover.Outcome) bool { return len(p.Advice) > 0 })
	if idle && (advised || a.present()) {
		return nil
	}
	for _, plan := range plans {
		if !a.present() {
			break
		}
		t := a.term.planTable(plan)
		if err := t.print(a.err, a.term.columns(a.err)); err != nil {
			return err
		}
	}
	answer, err := a.ask(question, flags...)
	if err != nil {
		return err
	}
	switch {
	case len(flags) > 1 && (answer == "m" || answer == "move"):
		c.Move = true
	case answer == "k" || answer == "keep":
		c.Keep = true
	default:
		return &fault.Error{Code: fault.Cancelled, Message: unchanged}
	}
	return nil
}

// plans are what would be done; idle: nothing.
func (c *importFileCmd) plans(a *app, reqs []takeover.Request, keep bool) (idle bool, all []*takeover.Outcome, err error) {
	idle = true
	for _, req := range reqs {
		req.Keep = keep
		plan, err := takeover.Plan(a.ctx, a.folder, req)
		if err != nil {
			return false, nil, err
		}
		idle, all = idle && plan.Idle, append(all, plan)
	}
	return idle, all, nil
}

// importable are the logins of other programs that could be taken over. It accesses neither
// network nor keychain.
func importable(a *app) []takeover.Found { return takeover.Importable(a.ctx, a.folder) }

// inWords is "OpenCode (anthropic, openai)".
func inWords(f takeover.Found) string {
	var providers []string
	for _, l := range f.Logins {
		if !slices.Contains(providers, l.Provider) {
			providers = append(providers, l.Provider)
		}
	}
	return f.Source.Title + " (" + strings.Join(providers, ", ") + ")"
}

// offerImport names the logins that other programs have and, if ask is set, asks for each
// program whether to take them over. With a provider it considers only programs that have a
// login of it that can be refreshed here. taken reports whether any were taken over.
func offerImport(a *app, provider, clientID string, ask bool) (taken bool, err error) {
	for _, f := range importable(a) {
		if f.Refreshable("") {
			a.term.note("found logins of %s in %s; authferry import %s takes them over", inWords(f), f.Path, f.Source.Name)
		} else {
			a.term.note("found logins of %s in %s", inWords(f), f.Path)
		}
		for _, advice := range f.Advice {
			a.term.note("%s: %s", advice.Text, a.term.hints.command(advice.Next))
		}
		fits := func(l takeover.Login) bool { return provider == "" || l.Provider == provider }
		lasting := f.Refreshable(provider) || clientID != "" && slices.ContainsFunc(f.Logins, fits)
		if !ask || !a.present() || !lasting {
			continue
		}
		answer, err := a.ask(fmt.Sprintf("Take over the logins of %s? [y/N]", f.Source.Title))
		if err != nil {
			return taken, err
		}
		if answer == "y" || answer == "yes" {
			if err := (&importFileCmd{Path: f.Path, ClientID: clientID}).run(a, f.Source); err != nil {
				return taken, err
			}
			taken = true
		}
	}
	return taken, nil
}

type importCmd struct {
	Grant importGrantCmd `cmd:"" help:"Read one grant as JSON from stdin."`

	OpenCode    importFileCmd `cmd:"" name:"opencode" help:"Take over the logins of OpenCode."`
	OpenCodeMCP importFileCmd `cmd:"" name:"opencode-mcp" help:"Take over OpenCode's logins at remote MCP servers."`
	ClaudeCode  importFileCmd `cmd:"" name:"claude-code" help:"Take over the login of Claude Code."`
	Codex       importFileCmd `cmd:"" name:"codex" help:"Take over the login of Codex."`
	Gemini      importFileCmd `cmd:"" name:"gemini" help:"Take over the login of Gemini CLI."`
	MultiAuth   importFileCmd `cmd:"" name:"multi-auth" help:"Take over the accounts of OpenCode's multi-auth plugin."`
	Antigravity importFileCmd `cmd:"" name:"antigravity" help:"Take over the accounts of OpenCode's Antigravity plugin."`
}

type importGrantCmd struct {
	jsonFlag
	Provider string `arg:"" help:"Provider that issued it."`
	Label    string `required:"" placeholder:"LABEL" help:"What to call the account."`
	Pool     string `placeholder:"POOL" help:"Pool to put it in; the provider's own by default."`
	ClientID string `name:"client-id" placeholder:"ID" help:"Client that it was issued to; the provider's by default."`
}

// Help is shown by --help.
func (c *importGrantCmd) Help() string {
	return `Reads {"access_token":"…","refresh_token":"…","expires_in":3600} from stdin
("expires_at" instead of "expires_in": RFC 3339, or seconds or milliseconds since
1970). UTF-8 or UTF-16.
Without a refresh token it serves until the access token expires.`
}

func (c *importGrantCmd) Run(a *app) error {
	if isTerminal(a.in) {
		a.term.note("reading a grant from the terminal; end it with Ctrl-D")
	}
	acc, err := account.ImportGrant(a.ctx, a.folder, a.input(), account.ImportOptions{Provider: c.Provider, Label: c.Label, Pool: c.Pool, ClientID: c.ClientID})
	if err != nil {
		return err
	}
	v := broker.ViewOf(a.folder, acc)
	defer enterShared(a, v.Pool)
	if c.JSON {
		return a.printJSON(importedDoc{[]pool.AccountView{v}, []skippedDoc{}})
	}
	welcome(a, v.Provider, v.Label)
	noteEnd(a, v)
	return nil
}

func keystoreName(a *app) string {
	if s, err := broker.Status(a.folder); err == nil && s.Keystore.Kind == "file" {
		return "sealed file keystore"
	}
	return "keychain"
}
