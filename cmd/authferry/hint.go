package main

import (
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/humantime"
)

// hints makes commands of remedies. Only this file does: the library says what helps, and
// this says how it is typed.
//
// A hint is a command that can be pasted. Additional text comes after " # ".
type hints struct {
	args  []string // of the command that was given; nil: it can't be given again
	child []string // the words after its "--"
	goos  string
	// typed is args as the grammar has them, which takes a while, once; nil: they make
	// no sense.
	typed func() *typedLine
}

func newHints(args, child []string) hints {
	return hints{args, child, runtime.GOOS, sync.OnceValue(func() *typedLine {
		c, _, err := parse(args, streams{out: io.Discard, err: io.Discard})
		return typedOf(c, err)
	})}
}

// of returns the commands for e, one a line; empty: none helps.
func (h hints) of(e *fault.Error) string {
	next := e.Next
	if len(next) == 0 {
		next = h.usual(e)
	}
	return h.write(next, e.RetryAt)
}

// lines returns the commands for remedies that are not about an error.
func (h hints) lines(next []fault.Remedy) string { return h.write(next, time.Time{}) }

// write leaves out commands that only repeat the one that was given.
func (h hints) write(next []fault.Remedy, retry time.Time) string {
	if len(next) == 0 {
		return ""
	}
	var lines []string
	own, _ := h.given()
	for _, r := range next {
		line := h.command(r)
		command, _, _ := strings.Cut(line, " # ")
		again := r.Do == fault.Again || r.Do == fault.Wait
		if line == "" || slices.Contains(lines, line) || !again && r.Do != plain && own != nil && len(own.operands) == 0 && command == own.name() {
			continue
		}
		if again && !retry.IsZero() {
			line += " # " + humantime.Relative(retry, time.Now())
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 && (own == nil || own.name() != "authferry doctor") {
		lines = append(lines, "authferry doctor")
	}
	return strings.Join(lines, "\n")
}

// usual is what helps if an error doesn't say.
func (h hints) usual(e *fault.Error) []fault.Remedy {
	own, words := h.given()
	if len(words) > 0 && words[0] == "helper" { // its message is shown in the middle of another program's
		return nil
	}
	switch e.Code {
	case fault.Cancelled:
		return nil
	case fault.Usage:
		if own == nil {
			return []fault.Remedy{{Do: help}}
		}
		return []fault.Remedy{{Do: help, Name: strings.Join(words, " ")}}
	case fault.NoAccount, fault.Ambiguous, fault.LabelTaken:
		return []fault.Remedy{{Do: fault.ListAccounts}}
	case fault.LoginNeeded, fault.LoginFailed, fault.RegistrationRefused, fault.InsufficientScope, fault.WrongResource, fault.AllHeld, fault.Fenced, fault.ProviderUnreachable, fault.ProviderRefused:
		if !e.RetryAt.IsZero() {
			return []fault.Remedy{{Do: fault.Again}, {Do: fault.Status}}
		}
		return []fault.Remedy{{Do: fault.Status}}
	case fault.EngineUnreachable, fault.EngineRestored:
		return []fault.Remedy{{Do: fault.ShareDoctor}}
	case fault.WaitingForMachine, fault.NotAMember:
		return []fault.Remedy{{Do: fault.ShareStatus}}
	case fault.TicketUsed:
		return []fault.Remedy{{Do: fault.ShareInvite}}
	}
	return []fault.Remedy{{Do: fault.Doctor}}
}

// command is how r is typed; empty: it can't be.
func (h hints) command(r fault.Remedy) string {
	for _, fact := range []string{r.Provider, r.Account, r.Label, r.Pool, r.Path, r.Name, r.Value} {
		if strings.ContainsFunc(fact, unicode.IsControl) {
			return "" // it doesn't fit into a line of a terminal
		}
	}
	if write, ok := writers()[r.Do]; ok {
		return write(h, r)
	}
	return ""
}

// The actions that only the command line has.
const (
	help       fault.Action = "help"        // [Name: a command]
	listSetUp  fault.Action = "list-set-up" // the programs that setup knows
	showUsed   fault.Action = "whoami"      // the account of each provider
	setUpIn    fault.Action = "set-up"      // Name: a program
	runIt      fault.Action = "run"         // Name: its command
	execIt     fault.Action = "exec"        //
	execInside fault.Action = "exec-inside" // Provider: whose token gets the variable in Value; Name: the others
	reportIt   fault.Action = "report"      // an example
	serveAt    fault.Action = "serve"       // [Value: an address]
	forward    fault.Action = "forward"     // Value: a port of this machine, Name: where ssh finds it
	plain      fault.Action = "plain"       // Value: a command as it is typed, another program's say
)

// writers has every action.
func writers() map[fault.Action]func(hints, fault.Remedy) string {
	type make = func(hints, fault.Remedy) string
	fixed := func(line string) make { return func(hints, fault.Remedy) string { return line } }
	account := func(words, note string) make {
		return func(h hints, r fault.Remedy) string {
			return noted("authferry "+words+h.operand(or(r.Account, "ACCOUNT")), note)
		}
	}
	all := map[fault.Action]make{
		fault.Again:           hints.again,
		fault.Instead:         hints.instead,
		fault.Wait:            hints.wait,
		fault.WithVariable:    func(h hints, r fault.Remedy) string { return h.with(r) },
		fault.WithoutVariable: func(h hints, r fault.Remedy) string { return h.without(r) },
		fault.Login:           hints.login,

		fault.ListAccounts: fixed("authferry list"),
		fault.ShowAccount:  account("info", ""),
		fault.Status:       fixed("authferry status"),
		fault.ShowHolds:    fixed("authferry holds # who is held, until when and why"),
		fault.ClearHolds:   account("holds clear", ""),
		fault.Enable:       account("enable", ""),
		fault.Remove:       account("remove", ""),
		fault.RemoveHere:   account("remove --no-revoke", "the other program keeps its login"),
		fault.Rename: func(h hints, r fault.Remedy) string {
			if r.Label != "" && !strings.HasPrefix(r.Account, "-") && !strings.HasPrefix(r.Label, "-") {
				return "authferry rename" + h.operand(r.Account) + h.operand(r.Label)
			}
			return noted("authferry rename"+h.operand(r.Account)+" NEW-LABEL", "frees its label")
		},
		fault.Move: func(h hints, r fault.Remedy) string {
			if strings.HasPrefix(r.Account, "-") {
				return "authferry move" + h.flag("pool", or(r.Pool, "POOL")) + h.operand(r.Account)
			}
			return "authferry move" + h.operand(r.Account) + h.flag("pool", or(r.Pool, "POOL"))
		},
		fault.Refresh:    account("refresh", ""),
		fault.RefreshNow: account("refresh --now", ""),
		fault.Unbind: func(h hints, r fault.Remedy) string {
			return "authferry use --unbind" + h.flag("dir", or(r.Path, "DIR"))
		},
		fault.LeaveFolder: fixed("cd # to a folder that exists, then run the command again"),

		fault.ListProviders: fixed("authferry provider list # choose one, then: authferry login NAME"),
		fault.ShowProvider:  func(h hints, r fault.Remedy) string { return "authferry provider show" + h.operand(r.Provider) },
		fault.AddProvider: func(h hints, r fault.Remedy) string {
			line := "authferry provider add" + h.operand(or(r.Provider, "NAME")) + h.flag(or(r.Name, "issuer"), or(r.Value, "URL"))
			if r.Value != "" && r.Name != "mcp" {
				line += " --client-id ID"
			}
			return line
		},
		fault.AmendProvider: func(h hints, r fault.Remedy) string {
			line := "authferry provider add" + h.operand(or(r.Provider, "NAME")) + h.flag("from", or(r.Provider, "NAME")) + h.flag(r.Name, or(r.Value, placeholderOf(r.Name)))
			if r.Value == "" {
				return line
			}
			return noted(line, "or where its API is")
		},
		fault.StoreSecret: func(h hints, r fault.Remedy) string {
			name := or(r.Provider, "NAME")
			return noted("authferry provider add"+h.operand(name)+h.flag("from", name)+" --client-secret-stdin", "the client secret on stdin")
		},

		fault.Doctor: fixed("authferry doctor"),
		fault.Fix:    fixed("authferry doctor --fix"),
		fault.FixWithKey: func(h hints, r fault.Remedy) string {
			return h.assign("AUTHFERRY_KEY_FILE", or(r.Path, "PATH")) + "authferry doctor --fix"
		},

		fault.ShowKeystore: fixed("authferry keystore status"),
		fault.UnlockKeychain: func(h hints, _ fault.Remedy) string {
			switch h.goos {
			case "darwin":
				return "security unlock-keychain"
			case "windows":
				return "authferry keystore status # in the session of the user who is logged in"
			}
			return "gnome-keyring-daemon --replace --unlock # type the keyring's password (it is shown), then Ctrl-D twice, no Enter; or unlock it on the desktop"
		},
		fault.UnlockKeyFile: fixed("authferry keystore unlock"),
		fault.InitKeystore: func(h hints, r fault.Remedy) string {
			return noted("authferry keystore init"+h.flag("key-file", or(r.Path, keyFile())), "sealed files, where there is no keychain")
		},
		fault.SealKeystore: func(h hints, r fault.Remedy) string {
			line := "authferry keystore init --passphrase"
			if r.Path != "" {
				line += h.flag("key-file", r.Path)
			}
			return line
		},
		fault.SealKeyFile: func(h hints, r fault.Remedy) string {
			return noted("age -p -o NEW "+h.word(r.Path), "then: authferry keystore init --passphrase --key-file NEW")
		},
		fault.MigrateKeystore: func(_ hints, r fault.Remedy) string {
			line := "authferry keystore migrate " + or(r.Value, "file")
			if r.Value == "keychain" {
				line += " # in a session with an unlocked keychain: a desktop's, not one of SSH or cron"
			}
			return line
		},
		fault.SessionFolder: func(h hints, _ fault.Remedy) string {
			if h.goos == "linux" {
				return "export XDG_RUNTIME_DIR=/run/user/$(id -u) # or any folder of yours in memory"
			}
			return "export XDG_RUNTIME_DIR=$TMPDIR # or any folder of yours in memory"
		},

		fault.SetVariable: func(h hints, r fault.Remedy) string {
			if h.goos == "windows" {
				return "$env:" + r.Name + " = " + inPowerShell(or(r.Value, "VALUE"))
			}
			return "export " + r.Name + "=" + h.word(or(r.Value, "VALUE"))
		},
		fault.SetSetting: func(h hints, r fault.Remedy) string {
			return "authferry config set " + r.Name + h.operand(or(r.Value, "VALUE"))
		},
		fault.EditFile: func(h hints, r fault.Remedy) string {
			if h.goos == "windows" {
				return "notepad " + h.path(r.Path)
			}
			return "${EDITOR:-vi} " + h.path(r.Path)
		},
		fault.DeleteFile:  func(h hints, r fault.Remedy) string { return "rm " + h.path(r.Path) },
		fault.ProtectFile: func(h hints, r fault.Remedy) string { return "chmod 600 " + h.path(r.Path) },
		fault.LookAtFile:  func(h hints, r fault.Remedy) string { return "ls -l " + h.path(r.Path) },
		fault.GiveBack:    func(h hints, r fault.Remedy) string { return "sudo chown -R " + h.word(r.Name) + " " + h.path(r.Path) },

		fault.Import: func(h hints, r fault.Remedy) string {
			line, note := "authferry import "+r.Name+" --move", ""
			if r.How == fault.Keeping {
				line, note = "authferry import "+r.Name+" --keep", "leaves the logins there as well"
			}
			if r.Path != "" {
				line += " " + h.path(r.Path)
			}
			if r.Value != "" {
				return noted(line+h.flag("client-id", r.Value), "the client that they were issued to")
			}
			return noted(line, note)
		},
		fault.ImportGrant: func(h hints, r fault.Remedy) string {
			line := "authferry import grant" + h.operand(or(r.Provider, "PROVIDER")) + h.flag("label", or(r.Label, "LABEL"))
			if r.Value != "" {
				line += h.flag("client-id", r.Value)
			}
			return noted(line, `on stdin: {"access_token":"…","refresh_token":"…","expires_in":3600}`)
		},
		fault.AsOwner: func(h hints, r fault.Remedy) string {
			line := "sudo -u " + h.word(r.Name)
			if own, words := h.given(); own != nil && len(words) > 0 && words[0] == "setup" {
				return line + " -H " + own.line(h)
			}
			return line + " env AUTHFERRY_DIR=" + h.word(r.Path) + " authferry status"
		},
		fault.ShowVersion: fixed("authferry version # this one; install a newer one"),
		fault.ShowDaemons: fixed("busctl --user status org.freedesktop.secrets"),
		fault.TrustCA: func(h hints, _ fault.Remedy) string {
			switch h.goos {
			case "darwin":
				return "security add-trusted-cert -k ~/Library/Keychains/login.keychain-db CA.pem"
			case "windows":
				return "certutil -user -addstore Root CA.pem"
			}
			return "export SSL_CERT_FILE=CA.pem"
		},

		help: func(_ hints, r fault.Remedy) string {
			if r.Name == "" {
				return "authferry --help"
			}
			return "authferry " + r.Name + " --help"
		},
		showUsed:  fixed("authferry whoami # the account of each provider"),
		listSetUp: fixed("authferry setup # the programs that it knows"),
		setUpIn: func(h hints, r fault.Remedy) string {
			line := "authferry setup" + h.operand(r.Name)
			if r.Value != "" {
				line += " --" + r.Value
			}
			if r.Pool != "" {
				line += h.flag("pool", r.Pool)
			}
			return line
		},
		runIt:  func(h hints, r fault.Remedy) string { return "authferry run -- " + h.word(or(r.Name, "COMMAND")) },
		execIt: fixed("authferry exec -- COMMAND"),
		execInside: func(h hints, r fault.Remedy) string {
			words := []string{"authferry exec " + r.Name + " -- authferry exec" + h.operand(r.Provider) + h.flag("env", r.Value) + " --"}
			for _, word := range h.child {
				words = append(words, h.word(word))
			}
			return strings.Join(words, " ")
		},
		reportIt: fixed(`echo '{"lease":"LEASE","status":429,"headers":{"retry-after":"30"}}' | authferry report`),
		serveAt: func(h hints, r fault.Remedy) string {
			if r.Value == "" {
				return "authferry serve"
			}
			return "authferry serve" + h.flag("listen", r.Value)
		},
		forward: func(h hints, r fault.Remedy) string {
			return "ssh -N -L " + h.word(r.Value+":127.0.0.1:"+r.Value) + h.operand(or(r.Name, "HOST")) + " # on the machine with the browser; then open the address there"
		},
		plain: func(_ hints, r fault.Remedy) string { return r.Value },
	}
	addShareWriters(all)
	return all
}

func or(fact, placeholder string) string {
	if fact == "" {
		return placeholder
	}
	return fact
}

// noted adds a comment to a command.
func noted(line, note string) string {
	if note == "" {
		return line
	}
	return line + " # " + note
}

// placeholderOf stands for the value of a flag of provider add.
func placeholderOf(flag string) string {
	switch flag {
	case "client-id":
		return "ID"
	case "api-path":
		return "PREFIX"
	case "env":
		return "NAME"
	}
	return "URL"
}

func (h hints) login(r fault.Remedy) string {
	if r.Provider == "" {
		return "authferry login # asks which provider, and how"
	}
	line := "authferry login" + h.operand(r.Provider)
	switch r.How {
	case fault.Client:
		line += " --flow client --" + string(r.How) + "-stdin"
	case fault.APIKey, fault.Token:
		line += " --" + string(r.How) + "-stdin"
	case fault.Browser, fault.Paste, fault.Device:
		line += " --flow " + string(r.How)
	}
	if r.Account != "" {
		line += h.flag("renew", r.Account)
	} else if r.Label != "" {
		line += h.flag("label", r.Label)
	}
	if r.Pool != "" {
		line += h.flag("pool", r.Pool)
	}
	switch r.Name {
	case "register":
		return line + " --register"
	case "scope":
		for s := range strings.FieldsSeq(r.Value) {
			line += h.flag("scope", s)
		}
		return line
	}
	if r.Value != "" {
		line = noted(line+h.flag("client-id", r.Value), "of your own registration there")
	}
	return line
}

// with is the command that was given, with a variable set for it only.
func (h hints) with(r fault.Remedy) string {
	own, _ := h.given()
	if own == nil {
		return h.command(fault.Remedy{Do: fault.SetVariable, Name: r.Name, Value: r.Value})
	}
	return h.assign(r.Name, r.Value) + own.line(h)
}

// without is the command that was given, with a variable unset.
func (h hints) without(r fault.Remedy) string {
	own, _ := h.given()
	switch {
	case h.goos == "windows":
		return "Remove-Item Env:" + r.Name
	case own == nil:
		return "unset " + r.Name
	}
	return "env -u " + r.Name + " " + own.line(h)
}

// assign sets a variable for the command after it.
func (h hints) assign(name, value string) string {
	if h.goos == "windows" {
		return "$env:" + name + " = " + inPowerShell(value) + "; "
	}
	return name + "=" + h.word(value) + " "
}

// word quotes a word so that a shell takes it as one, whatever it contains: names come from
// files and providers, and hints are pasted. On Windows the shell is PowerShell.
func (h hints) word(word string) string {
	quoted := arg(word)
	if h.goos == "windows" && strings.HasPrefix(quoted, "'") {
		return inPowerShell(word)
	}
	return quoted
}

// inPowerShell quotes a text, which may be bare only as an argument.
func inPowerShell(text string) string {
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// arg quotes a word for a POSIX shell.
func arg(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@._+:/-", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// path is a word that no program takes for a flag.
func (h hints) path(path string) string {
	if strings.HasPrefix(path, "-") {
		path = "./" + path
	}
	return h.word(path)
}

// operand is an argument without a flag, with a space before it.
func (h hints) operand(value string) string {
	if strings.HasPrefix(value, "-") {
		return " -- " + h.word(value)
	}
	return " " + h.word(value)
}

// flag is a flag with its value, with a space before it.
func (h hints) flag(name, value string) string {
	if strings.HasPrefix(value, "-") {
		return " --" + name + "=" + h.word(value)
	}
	return " --" + name + " " + h.word(value)
}

// keyFile is where a person's key file may be: beside authferry's folder, not in it. Whoever
// chose that folder chooses this too.
func keyFile() string {
	if dir, err := folder.DefaultDir(); err == nil && os.Getenv("AUTHFERRY_DIR") == "" {
		return dir + ".key"
	}
	return "PATH"
}
