package main

import (
	"context"
	"errors"
	"io"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/cmd/authferry/setup"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// globals are the flags that every command takes.
type globals struct {
	Quiet   bool `short:"q" help:"Print no warnings and no progress."`
	Verbose bool `short:"v" help:"Log what is done to stderr, without secrets."`
	NoInput bool `help:"Never prompt and never open a browser."`
}

// grammar is the command line. One file per command.
type grammar struct {
	Globals globals `embed:""`

	Home    homeCmd    `cmd:"" default:"1" hidden:"" help:"Show what is set up, and what to do next."`
	Login   loginCmd   `cmd:"" group:"Accounts:" aliases:"add" help:"Log in: add an account, or renew its login."`
	Status  statusCmd  `cmd:"" group:"Accounts:" help:"Show who is current, valid or held, until when and why."`
	List    listCmd    `cmd:"" group:"Accounts:" aliases:"ls" help:"List the accounts."`
	Info    infoCmd    `cmd:"" group:"Accounts:" aliases:"show" help:"Show one account in full."`
	Whoami  whoamiCmd  `cmd:"" group:"Accounts:" help:"Show which account is used here, and why it is that one."`
	Import  importCmd  `cmd:"" group:"Accounts:" help:"Take over a login that exists already."`
	Rename  renameCmd  `cmd:"" group:"Accounts:" help:"Give an account another label."`
	Refresh refreshCmd `cmd:"" group:"Accounts:" help:"Refresh an account's login now: does it still work?"`
	Remove  removeCmd  `cmd:"" group:"Accounts:" aliases:"rm" help:"Revoke a login and delete its secrets."`

	Token  tokenCmd  `cmd:"" group:"Tokens:" help:"Print a valid access token."`
	Header headerCmd `cmd:"" group:"Tokens:" help:"Print every header that a request needs, one a line."`
	Run    runCmd    `cmd:"" group:"Tokens:" help:"Run an AI client so that it goes on with another account at a limit."`
	Serve  serveCmd  `cmd:"" group:"Tokens:" help:"Do the same for programs started elsewhere, such as editors."`
	Exec   execCmd   `cmd:"" group:"Tokens:" help:"Run a command with the token in its environment."`

	Use     useCmd     `cmd:"" group:"More than one account:" help:"Make an account current in its pool, or bind a directory."`
	Report  reportCmd  `cmd:"" group:"More than one account:" help:"Report an API's answer (JSON on stdin) and get the next step."`
	Holds   holdsCmd   `cmd:"" group:"More than one account:" help:"Show the holds, or clear those of an account."`
	Disable disableCmd `cmd:"" group:"More than one account:" help:"Stop using an account until it is enabled again."`
	Enable  enableCmd  `cmd:"" group:"More than one account:" help:"Use a disabled account again."`
	Move    moveCmd    `cmd:"" group:"More than one account:" help:"Put an account into another pool."`
	Order   orderCmd   `cmd:"" group:"More than one account:" help:"Change an account's rank in its pool."`
	Share   shareCmd   `cmd:"" group:"More than one account:" help:"Share a pool with other machines, without burning its logins."`

	Setup  setupCmd  `cmd:"" group:"Other programs:" help:"Put authferry into another program's configuration, or take it out."`
	Helper helperCmd `cmd:"" group:"Other programs:" help:"Answer a program's own credential protocol."`
	MCP    mcpCmd    `cmd:"" group:"Other programs:" name:"mcp" help:"Serve the status to an agent, or reach a remote MCP server."`

	Doctor     doctorCmd     `cmd:"" group:"Authferry itself:" help:"Check for problems, and fix what is safe to fix."`
	Keystore   keystoreCmd   `cmd:"" group:"Authferry itself:" help:"Show, choose or change where secrets are kept."`
	Provider   providerCmd   `cmd:"" group:"Authferry itself:" help:"Show and change the providers."`
	Config     configCmd     `cmd:"" group:"Authferry itself:" help:"Show and change settings."`
	Completion completionCmd `cmd:"" group:"Authferry itself:" help:"Print a shell's completion script."`
	Man        manCmd        `cmd:"" group:"Authferry itself:" help:"Print the manual page."`
	Version    versionCmd    `cmd:"" group:"Authferry itself:" help:"Print the version."`

	Complete completeCmd `cmd:"" hidden:"" help:"Say how a command line can go on; the completion scripts ask this."`
	Rotate   rotateCmd   `cmd:"" hidden:"" help:"Rotate one account's grant; authferry starts this itself."`
}

// commandOf parses the command line in the fastest way that works. quick: the command
// usually ends at once.
func commandOf(args []string, s streams, h *hints) (command func(*app) error, flags *globals, quick bool, err error) {
	if c, flags, ok := quickToken(args); ok {
		return c.Run, flags, true, nil
	}
	if c, flags, ok := quickHeaders(args); ok {
		return c.Run, flags, true, nil
	}
	if c, ok := quickView(args); ok {
		return c.Run, new(globals), true, nil
	}
	c, flags, err := parse(args, s)
	typed := typedOf(c, err) // now, before the command changes what it was given
	h.typed = func() *typedLine { return typed }
	if err != nil {
		return nil, nil, false, err
	}
	return func(a *app) error { return c.Run(a) }, flags, false, nil
}

// parse parses the command line with the grammar of its command alone. If that doesn't
// accept it (a mistake, --help), the whole grammar explains it.
func parse(args []string, s streams) (*kong.Context, *globals, error) {
	whole := reflect.TypeFor[grammar]()
	if small := onlyCommand(whole, args); small != whole && !slices.Contains(args, "--help") && !slices.Contains(args, "-h") {
		if c, flags, err := parseAs(small, args, s); err == nil {
			return c, flags, nil
		}
	}
	return parseAs(whole, args, s)
}

func parseAs(grammar reflect.Type, args []string, s streams) (*kong.Context, *globals, error) {
	g := reflect.New(grammar)
	k, err := newParser(g.Interface(), s)
	if err != nil {
		return nil, nil, err
	}
	c, err := k.Parse(args)
	if err == nil {
		err = noEmptyFlag(c)
	}
	return c, g.Elem().FieldByName("Globals").Addr().Interface().(*globals), err
}

// onlyCommand is a grammar without the commands that args don't begin with: building the whole
// one takes as long as reading the keychain. It is all of it where args begin with none.
func onlyCommand(grammar reflect.Type, args []string) reflect.Type {
	var kept []reflect.StructField
	found := false
	for field := range grammar.Fields() {
		if _, command := field.Tag.Lookup("cmd"); command {
			if len(args) == 0 || args[0] != or(field.Tag.Get("name"), strings.ToLower(field.Name)) && args[0] != field.Tag.Get("aliases") {
				continue
			}
			found, field.Type = true, onlyCommand(field.Type, args[1:])
		}
		kept = append(kept, field)
	}
	if !found {
		return grammar
	}
	return reflect.StructOf(kept)
}

// noEmptyFlag refuses --pool "" and similar: a script's unset variable must not mean "no
// fence", "no pin" or "no lease".
func noEmptyFlag(c *kong.Context) error {
	for _, p := range c.Path {
		if p.Flag == nil || p.Flag.Target.Kind() != reflect.String || p.Flag.Target.String() != "" {
			continue
		}
		return &fault.Error{Code: fault.Usage, Message: "--" + p.Flag.Name + " has no value", Next: []fault.Remedy{{Do: help, Name: commandWords(c)}}}
	}
	return nil
}

func newParser(grammar any, s streams) (*kong.Kong, error) {
	return kong.New(grammar, kong.Name("authferry"),
		kong.Description("Keeps logins in the keychain and hands out access tokens that are valid."),
		kong.Writers(s.out, s.err), kong.Exit(func(c int) { panic(exit(c)) }),
		kong.Help(printHelp), kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, FlagsLast: true}),
		kong.Vars{"min_ttl": pool.DefaultMinTTL.String(), "serve_address": setup.DefaultListen})
}

// jsonFlag is embedded by every command whose result is a document.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print one JSON document on stdout and nothing else."`
}

// selection is embedded by every command that picks an account.
type selection struct {
	Provider string `arg:"" optional:"" help:"Provider whose account to use."`
	which
}

// which are the flags of a selection.
type which struct {
	Account   string `short:"a" placeholder:"ACCOUNT" help:"This account and no other: a label, PROVIDER/LABEL or id."`
	Pool      string `short:"p" placeholder:"POOL" help:"An account of this pool."`
	HoldScope string `placeholder:"SCOPE" help:"Also respect holds on this scope (model:opus, say)."`
}

func (s selection) resolve() pool.Selection {
	dir, err := os.Getwd()
	return pool.Selection{
		Account: s.Account, Pool: s.Pool, Provider: s.Provider, Dir: dir, DirUnknown: err != nil, Scope: s.HoldScope,
		EnvAccount: os.Getenv("AUTHFERRY_ACCOUNT"), EnvPool: os.Getenv("AUTHFERRY_POOL"),
	}
}

// app is what a command works with.
type app struct {
	streams
	ctx    context.Context
	term   *terminal
	folder *folder.Folder
	broker *broker.Broker // of folder
	// options are those of folder, as they were given.
	options broker.Options
	// child are the words after "--": the command that exec runs, or the words to complete.
	child []string
}

// exit unwinds the stack to run when kong ends the program, after --help.
type exit int

// soon is when quick commands have ended, even a hundred of them at once.
const soon = time.Second

// run is the program; it returns the exit code. It calls catch to have signals end ctx;
// before that, a signal ends the process. Go starts a thread for signals, so a quick
// command calls catch only when it starts to wait for something.
func run(ctx context.Context, args []string, s streams, catch func()) (code int) {
	term := newTerminal(s, os.Environ())
	args = habits(args)
	wantJSON := asksForJSON(args)
	args, child := cutCommand(args)
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exit:
			code = int(r)
		default:
			panic(r)
		}
	}()
	term.hints = newHints(args, child)
	command, flags, quick, err := commandOf(args, s, &term.hints)
	if err != nil {
		return term.fail(term.mistake(err), wantJSON)
	}
	if quick { // and ends before a collection would pay, even with an index of 10,000 accounts
		percent := debug.SetGCPercent(-1)
		time.AfterFunc(soon, func() {
			debug.SetGCPercent(percent)
			catch()
		})
	} else {
		catch()
	}
	term.quiet, term.noInput = flags.Quiet, flags.NoInput
	opt, err := options(flags, term)
	if err != nil {
		return term.fail(err, wantJSON)
	}
	opt.Waiting = catch
	if term.live = term.follow(flags.Verbose); term.live {
		opt.Progress = term.step
	}
	b := broker.New(opt)
	err = command(&app{streams: s, ctx: ctx, term: term, folder: b.Folder, broker: b, options: opt, child: child})
	if err == nil {
		return exitOK
	}
	if ended, ok := errors.AsType[*childError](err); ok {
		if ended.err != nil {
			term.say("error", ended.err.Error())
		}
		return ended.code
	}
	if r, ok := errors.AsType[reported](err); ok {
		wantJSON, err = false, r.error
	}
	by, interrupted := errors.AsType[signalled](context.Cause(ctx))
	term.interrupted = interrupted
	if code = term.fail(err, wantJSON); interrupted {
		code = by.exitCode()
	}
	return code
}

// reported is an error whose command has printed its own document.
type reported struct{ error }

// cutCommand removes what follows the "--" of exec, run and complete.
func cutCommand(args []string) (own, child []string) {
	i, first := slices.Index(args, "--"), commandAt(args)
	if first < 0 || first > i || args[first] != "exec" && args[first] != "run" && args[first] != "complete" {
		return args, nil
	}
	return args[:i], args[i+1:]
}

// commandAt finds the word of args that names the command; -1: none does.
func commandAt(args []string) int {
	return slices.IndexFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") })
}

// asksForJSON looks for --json before the command line is parsed, because a mistake in it
// is reported in JSON too. report always prints JSON.
func asksForJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	at := commandAt(args)
	return slices.Contains(args, "--json") || at >= 0 && args[at] == "report"
}

// options are those of the environment and of the flags.
func options(g *globals, term *terminal) (broker.Options, error) {
	opt, err := folder.FromEnvironment(!g.NoInput && term.personPresent())
	if err != nil {
		return opt, err
	}
	opt.Warn, opt.Hint = term.warn, func(e *fault.Error) string { return term.hints.of(e) }
	if g.Verbose {
		opt.LogTo(term.err)
	}
	return opt, nil
}

// The exit codes, as documented.
const (
	exitOK         = 0
	exitOther      = 1
	exitDeclined   = 2
	exitAccount    = 3
	exitLogin      = 4
	exitHeld       = 5
	exitKeystore   = 6
	exitLock       = 7
	exitProvider   = 8
	exitFenced     = 9
	exitUsage      = 80
	exitInterrupt  = 130
	exitTerminated = 143
)

var exitCodes = map[fault.Code]int{
	fault.NoAccount: exitAccount, fault.Ambiguous: exitAccount, fault.LabelTaken: exitAccount,
	fault.LoginNeeded: exitLogin, fault.LoginFailed: exitLogin, fault.RegistrationRefused: exitLogin, fault.InsufficientScope: exitLogin, fault.TicketUsed: exitLogin,
	fault.AllHeld:        exitHeld,
	fault.KeystoreLocked: exitKeystore, fault.KeystoreUnavailable: exitKeystore, fault.KeystoreDenied: exitKeystore,
	fault.KeystoreTimeout: exitKeystore, fault.KeystoreMismatch: exitKeystore, fault.SecretTooBig: exitKeystore,
	fault.LockTimeout:         exitLock,
	fault.ProviderUnreachable: exitProvider, fault.ProviderRefused: exitProvider,
	fault.EngineUnreachable: exitProvider, fault.EngineRestored: exitProvider, fault.WaitingForMachine: exitProvider,
	fault.Fenced: exitFenced, fault.WrongResource: exitFenced, fault.NotAMember: exitFenced,
	fault.Usage:        exitUsage,
	fault.Cancelled:    exitDeclined,
	fault.IndexCorrupt: exitOther, fault.IndexTooNew: exitOther, fault.Internal: exitOther,
}
