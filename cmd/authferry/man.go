package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
)

//go:generate sh -c "go run . man >../../docs/authferry.1"

type manCmd struct{}

func (*manCmd) Run(a *app) error {
	k, err := newParser(new(grammar), a.streams)
	if err != nil {
		return err
	}
	p := &manPage{out: a.out}
	p.request("TH", "AUTHFERRY", "1", "", "authferry", "User Commands")
	p.request("SH", "NAME")
	p.text("authferry - keeps logins in the keychain and hands out access tokens that are valid")
	p.request("SH", "SYNOPSIS")
	p.text(`\fBauthferry\fR \fICOMMAND\fR [\fIFLAGS\fR]`)
	p.request("SH", "DESCRIPTION")
	p.text(roff(manual.description))
	p.request("SH", "COMMANDS")
	p.commands(k.Model.Node)
	p.request("SH", "FLAGS OF EVERY COMMAND")
	p.flags(k.Model.Flags)
	for _, s := range manual.sections {
		p.request("SH", s.title)
		for _, row := range s.rows {
			p.entry(`\fB`+roff(row[0])+`\fR`, row[1])
		}
	}
	return p.err
}

// manPage writes man's macros (groff_man(7)).
type manPage struct {
	out io.Writer
	err error
}

func (p *manPage) text(s string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.out, s)
	}
}

func (p *manPage) request(macro string, args ...string) {
	for i, arg := range args {
		args[i] = `"` + strings.ReplaceAll(arg, `"`, `\(dq`) + `"`
	}
	p.text("." + macro + " " + strings.Join(args, " "))
}

// entry is a term and what it means. The term is roff, the meaning is not.
func (p *manPage) entry(term, meaning string) {
	p.text(".TP\n" + term + "\n" + roff(meaning))
}

func (p *manPage) commands(n *kong.Node) {
	for _, c := range n.Children {
		switch {
		case c.Hidden:
			continue
		case len(c.Children) > 0:
			p.commands(c)
			continue
		}
		words := []string{`\fB` + roff(c.FullPath()) + `\fR`}
		for _, arg := range c.Positional {
			words = append(words, roff(arg.Summary()))
		}
		p.request("SS", strings.TrimPrefix(strings.Join(words, " "), `\fBauthferry `))
		p.text(roff(c.Help))
		if c.Detail != "" {
			p.text(".PP\n.nf\n" + roff(c.Detail) + "\n.fi")
		}
		for _, arg := range c.Positional {
			if arg.Help != "" {
				p.entry(`\fI`+roff(arg.Summary())+`\fR`, arg.Help)
			}
		}
		p.flags(c.Flags)
		if lines := examplesOf(commandName(c)); lines != nil {
			p.text(".PP\nExamples:\n.RS 4\n.nf\n" + roff(strings.Join(lines, "\n")) + "\n.fi\n.RE")
		}
	}
}

func (p *manPage) flags(flags []*kong.Flag) {
	for _, f := range flags {
		if !f.Hidden {
			p.entry(`\fB`+roff(f.String())+`\fR`, f.Help)
		}
	}
}

// roff keeps text from being taken for a request: no line may begin with a dot or
// a quote, and a hyphen that somebody is to type must stay one.
func roff(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r > unicode.MaxASCII:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// manual is what the grammar does not say.
var manual = struct {
	description string
	sections    []section
}{
	description: `Access tokens, refresh tokens and API keys are kept in the keychain of the
system (or, where you chose it, in sealed files), and handed to any number of
programs at once. A refresh token is spent once, whoever asks and whoever dies.
Several accounts of a provider stand in for each other in pools: one that has hit
a limit is held until the time that the provider named, and the next takes over.`,
	sections: []section{
		{"ENVIRONMENT", [][2]string{
			{"AUTHFERRY_DIR", "The folder of the index, settings and locks."},
			{"AUTHFERRY_KEYSTORE", "keychain or file: the one that a new folder uses; a folder with the other one is refused."},
			{"AUTHFERRY_ACCOUNT, AUTHFERRY_POOL", "The same as --account and --pool."},
			{"AUTHFERRY_KEY_FILE", "Path of the key file that opens the sealed files."},
			{"AUTHFERRY_KEYCHAIN_TIMEOUT, AUTHFERRY_LOCK_TIMEOUT, AUTHFERRY_HTTP_TIMEOUT", "How long to wait, as 30s or 2m. By default 5s (2m where somebody can answer a prompt), 30s and 30s."},
			{"NO_COLOR, CLICOLOR=0, CLICOLOR_FORCE", "No colours; likewise; colours without a terminal too."},
			{"COLUMNS", "How wide the terminal is, where it is not to be asked."},
		}},
		{"EXIT STATUS", [][2]string{
			{"0", "Done."},
			{"1", "Another error."},
			{"2", "A prompt was declined."},
			{"3", "No such account, none yet, or more than one that could be meant; or the label is taken."},
			{"4", "A login is needed, or was denied, failed or timed out."},
			{"5", "Every account of the pool is held."},
			{"6", "The keystore is locked, absent, refuses, is another one, or the secret is too big for it."},
			{"7", "A lock was not obtained in time."},
			{"8", "The provider can't be reached, or refuses for now."},
			{"9", "A fence: the account is outside of the pool that was asked for."},
			{"80", "The command line can't be understood."},
			{"130, 143", "Interrupted; terminated."},
		}},
		{"FILES", [][2]string{
			{"index.json", "What accounts there are. No secrets."},
			{"providers.toml, config.toml", "Your own providers, and settings. No secrets."},
			{"vault/", "The sealed files, where these are used."},
		}},
	},
}

type section struct {
	title string
	rows  [][2]string
}
