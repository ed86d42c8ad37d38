package main

import (
	"fmt"
	"io"
	"slices"
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
	p.text(roff(description))
	// The following has space above its heading and none between its entries.
	p.text(".de CM\n.PD\n.SS \\\\$1\n.PD 0\n..\n.de PT\n.PD\n.SH \\\\$1\n.PD 0\n..\n.de XM\n.sp\n.PP\n.EX\n..")
	commands := manCommands(k.Model.Node)
	flags, args := sharedWords(commands)
	p.request("SH", "COMMANDS")
	for _, siblings := range commands {
		p.command(siblings, flags, args)
	}
	p.request("PT", "WORDS OF SEVERAL COMMANDS")
	p.arguments(args)
	p.flags(k.Model.Flags)
	p.flags(flags)
	for _, s := range sections() {
		p.request("PT", s.title)
		for _, row := range s.rows {
			p.entry(row[0], row[1])
		}
	}
	return p.err
}

// manCommands are the commands that people need to know. Those that differ only in their
// name, as import's programs do, are described together.
func manCommands(n *kong.Node) (all [][]*kong.Node) {
	for _, c := range n.Children {
		last := len(all) - 1
		switch {
		case c.Hidden && c.Tag.Default != "withargs":
		case len(c.Children) > 0:
			all = append(all, manCommands(c)...)
		case last >= 0 && all[last][0].Target.Type() == c.Target.Type():
			all[last] = append(all[last], c)
		default:
			all = append(all, []*kong.Node{c})
		}
	}
	return all
}

// sharedWords are the flags and arguments with the same meaning in several commands.
func sharedWords(commands [][]*kong.Node) (flags []*kong.Flag, args []*kong.Positional) {
	count := map[string]int{}
	for _, siblings := range commands {
		for _, f := range siblings[0].Flags {
			if count[f.String()+f.Help]++; count[f.String()+f.Help] == 2 {
				flags = append(flags, f)
			}
		}
		for _, arg := range siblings[0].Positional {
			if count[arg.Name+arg.Help]++; count[arg.Name+arg.Help] == 2 {
				args = append(args, arg)
			}
		}
	}
	return flags, args
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

// entry is a term and its meaning.
func (p *manPage) entry(term, meaning string) {
	p.request("IP", `\fB`+roff(term)+`\fR`, "18") // most meanings begin beside their term
	p.text(roff(meaning))
}

// command describes one command, or several that differ only in their name. Words that
// other commands have too are only named.
func (p *manPage) command(siblings []*kong.Node, flags []*kong.Flag, args []*kong.Positional) {
	c, help := siblings[0], siblings[0].Help
	named := c
	if c.Hidden { // it belongs to its parent
		named = c.Parent
	}
	names := []string{strings.TrimPrefix(named.FullPath(), "authferry ")}
	for _, other := range siblings[1:] {
		names = append(names, other.Name)
		help = c.Parent.Help
	}
	heading := []string{`\fB` + roff(strings.Join(names, "|")) + `\fR`}
	var ownArgs []*kong.Positional
	for _, arg := range c.Positional {
		heading = append(heading, roff(arg.Summary()))
		if !slices.ContainsFunc(args, func(s *kong.Positional) bool { return s.Name == arg.Name && s.Help == arg.Help }) {
			ownArgs = append(ownArgs, arg)
		}
	}
	var ownFlags []*kong.Flag
	for _, f := range c.Flags {
		if !slices.ContainsFunc(flags, func(s *kong.Flag) bool { return s.String() == f.String() && s.Help == f.Help }) {
			ownFlags = append(ownFlags, f)
		} else {
			heading = append(heading, roff("[--"+f.Name+"]"))
		}
	}
	p.request("CM", strings.Join(heading, " "))
	p.text(roff(help))
	for paragraph := range strings.SplitSeq(c.Detail, "\n\n") {
		if paragraph != "" {
			p.text(".sp\n" + roff(paragraph))
		}
	}
	p.arguments(ownArgs)
	p.flags(ownFlags)
	// Without a comment the examples only repeat the above.
	if lines := strings.Join(examplesOf(commandName(c)), "\n"); strings.Contains(lines, "# ") {
		p.text(".XM\n" + roff(lines) + "\n.EE")
	}
}

func (p *manPage) arguments(args []*kong.Positional) {
	for _, arg := range args {
		if arg.Help != "" {
			p.entry(strings.Trim(arg.Summary(), "[]"), arg.Help)
		}
	}
}

func (p *manPage) flags(flags []*kong.Flag) {
	for _, f := range flags {
		if !f.Hidden {
			p.entry(f.String(), f.Help)
		}
	}
}

// roff escapes text so that it isn't taken for a request: no line may begin with a dot or a
// quote, and a hyphen that is to be typed must stay one.
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

// description and sections are what the grammar doesn't say.
const description = `Access tokens, refresh tokens and API keys are kept in the keychain of the
system (or, where you chose it, in sealed files), and handed to any number of
programs at once. Each refresh token is used exactly once, even if a process is
killed midway. Several accounts of a provider stand in for each other in pools: one
that has hit a limit is held until the time that the provider named, and the next
takes over.`

func sections() []section {
	return []section{
		{"ENVIRONMENT", [][2]string{
			{"AUTHFERRY_DIR", "The folder of the index, settings and locks."},
			{"AUTHFERRY_KEYSTORE", "keychain or file: where a new folder keeps its secrets; a folder that uses the other one is refused."},
			{"AUTHFERRY_ACCOUNT, AUTHFERRY_POOL", "The same as --account and --pool."},
			{"AUTHFERRY_KEY_FILE", "Path of the key file that opens the sealed files."},
			{"AUTHFERRY_KEYCHAIN_TIMEOUT, AUTHFERRY_LOCK_TIMEOUT, AUTHFERRY_HTTP_TIMEOUT", "How long to wait, as 30s or 2m. By default 5s (2m where somebody can answer a prompt), 30s and 30s."},
			{"NO_COLOR, CLICOLOR=0, CLICOLOR_FORCE", "No colours; likewise; colours without a terminal too."},
			{"COLUMNS", "How wide the terminal is; by default the terminal is asked."},
		}},
		{"EXIT STATUS", [][2]string{
			{codes(exitOK), "Done."},
			{codes(exitOther), "Another error."},
			{codes(exitDeclined), "A prompt was declined."},
			{codes(exitAccount), "No such account, none yet, or more than one that could be meant; or the label is taken."},
			{codes(exitLogin), "A login is needed, or was denied, failed or timed out; or a ticket was used already."},
			{codes(exitHeld), "Every account of the pool is held."},
			{codes(exitKeystore), "The keystore is locked, missing or refuses, is not the one asked for, or the secret is too big for it."},
			{codes(exitLock), "A lock was not obtained in time."},
			{codes(exitProvider), "The provider can't be reached, or refuses for now; for a shared pool, its engine can't be, or another machine has to finish first."},
			{codes(exitFenced), "The account is outside of the pool that was asked for; or this machine is not in the shared pool."},
			{codes(exitUsage), "The command line can't be understood."},
			{codes(exitInterrupt, exitTerminated), "Interrupted; terminated."},
		}},
		{"FILES", [][2]string{
			{"index.json", "What accounts there are. No secrets."},
			{"providers.toml, config.toml", "Your own providers, and settings. No secrets."},
			{"vault/", "The sealed files, where these are used."},
		}},
	}
}

type section struct {
	title string
	rows  [][2]string
}

// codes are the exit codes of one meaning.
func codes(same ...int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(same), "[]"), " ", ", ")
}
