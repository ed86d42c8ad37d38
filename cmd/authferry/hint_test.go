package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/testenv"
)

// hostileFacts are facts as files, providers and people bring them.
var hostileFacts = []string{
	"Work", "my work", `it's "quoted"`, "$HOME", "$(touch pwned)", "`touch pwned`", "-rf", "--yes", "a;b", "a&b|c", "#1", "Büro", "仕事", `back\slash`, "*", "~", "{a,b}", "!x", "a=b", "sim/Work",
}

// givenLines are command lines that have something to be carried over.
var givenLines = [][]string{
	nil,
	{"token"}, {"token", "sim", "--account", "my work", "--min-ttl", "10m", "--json"}, {"token", "--max-wait", "90s"},
	{"header", "--pool", "it's"}, {"exec", "sim", "-a", "x y", "--env", "A", "--env", "B", "--", "sh", "-c", `echo "$B"; ls`},
	{"run", "anthropic", "openai", "--", "claude", "-p", "a b"},
	{"login", "sim", "--label", "My $HOME", "--pool", "work", "--flow", "device", "--client-id", "id 1", "--timeout", "30s"},
	{"add", "sim", "--renew", "it's", "--no-browser"}, {"login", "sim", "--token-stdin", "--label", "L", "--expires-in", "365d"},
	{"helper", "api-key", "--pool", "a b"}, {"helper", "git", "get"}, {"helper", "kubernetes", "--account", "x"},
	{"report", "--next", "--pool", "x"}, {"report", "it's", "--status", "429", "--retry-after", "1h"}, {"whoami", "sim"}, {"info", "Worx"}, {"use", "a b"}, {"keystore", "status"}, {"keystore", "migrate", "file", "--json"}, {"keystore", "init", "--passphrase"},
	{"import", "opencode", "/tmp x/auth.json", "--dry-run"}, {"import", "grant", "sim", "--label", "a b"},
	{"use", "--unbind", "--dir", "/a b"}, {"setup", "git", "--account", "x y", "--host", "https://a.example"}, {"setup", "opencode", "--map", "a=b"},
	{"provider", "add", "my", "--scope", "a b", "--scope", "c", "--issuer", "https://a.example"}, {"refresh", "--all"}, {"remove", "x", "--no-revoke"},
	{"doctor"}, {"holds"}, {"holds", "clear", "x"}, {"holds", "add", "a b", "90m"}, {"use", "--list"}, {"mcp", "sim"}, {"config", "set", "failover", "true"}, {},
}

// libraryActions are all that the library names, in no particular order.
var libraryActions = []fault.Action{
	fault.Again, fault.Instead, fault.Wait, fault.WithVariable, fault.WithoutVariable, fault.Login,
	fault.ListAccounts, fault.ShowAccount, fault.Status, fault.ShowHolds, fault.ClearHolds, fault.Enable, fault.Remove, fault.RemoveHere, fault.Rename, fault.Move, fault.Refresh, fault.RefreshNow, fault.Unbind, fault.LeaveFolder,
	fault.ListProviders, fault.ShowProvider, fault.AddProvider, fault.AmendProvider, fault.StoreSecret,
	fault.Doctor, fault.Fix, fault.FixWithKey,
	fault.ShowKeystore, fault.UnlockKeychain, fault.UnlockKeyFile, fault.InitKeystore, fault.SealKeystore, fault.SealKeyFile, fault.MigrateKeystore, fault.SessionFolder,
	fault.SetVariable, fault.SetSetting, fault.EditFile, fault.DeleteFile, fault.ProtectFile, fault.LookAtFile, fault.GiveBack,
	fault.Import, fault.ImportGrant, fault.AsOwner,
	fault.InstallShare, fault.ShareStart, fault.ShareInvite, fault.ShareJoin, fault.ShareLeave, fault.ShareMembers, fault.ShareRemove, fault.ShareRecover, fault.ShareStatus, fault.ShareDoctor, fault.ShareFix, fault.ShareServe, fault.ShareRights,
	fault.ShowVersion, fault.ShowDaemons, fault.TrustCA,
}

// Every action has a command, whatever its facts and whatever command was given, and
// a shell and the grammar take it.
func TestEveryHintCanBePasted(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("needs a POSIX shell: the hints of Linux and macOS are split by one")
	}
	actions := append(slices.Clone(libraryActions), help, showUsed, listSetUp, setUpIn, runIt, execIt, execInside, serveAt, forward)
	if own := writers(); len(own) != len(actions)+2 {
		t.Errorf("%d actions and %d commands", len(actions), len(own))
	}
	if complaint := pasted((hints{}).command(fault.Remedy{Do: reportIt})); complaint != "" { // a pipe
		t.Error(complaint)
	}
	lines := map[string]bool{}
	add := func(h hints, r fault.Remedy) {
		line := h.command(r)
		if line == "" {
			t.Errorf("%v after %q: no command", r, h.args)
		}
		if strings.Contains(line, " | sh -e ") { // what split would have a shell do
			if complaint := pasted(line); complaint != "" {
				t.Errorf("%s: %s", line, complaint)
			}
			return
		}
		lines[line] = true
	}
	for i, args := range givenLines {
		own, child := cutCommand(args)
		for _, do := range []fault.Action{fault.Again, fault.Wait, fault.WithVariable, fault.WithoutVariable, fault.AsOwner} {
			for _, r := range remedies(do, hostileFacts[i%len(hostileFacts):][:1]) {
				add(onLinux(own, child), r)
			}
		}
	}
	for _, do := range actions {
		for _, r := range remedies(do, hostileFacts) {
			add(hints{goos: "linux"}, r)
			add(hints{goos: "darwin"}, r)
		}
	}
	t.Logf("%d actions, %d hints", len(actions), len(lines))
	all := make([]string, 0, len(lines))
	for line := range lines {
		all = append(all, line)
	}
	slices.Sort(all)
	for i, words := range split(t, all) {
		if complaint := acceptable(words); complaint != "" {
			t.Errorf("%s\n\t%q: %s", all[i], words, complaint)
		}
	}
}

// onLinux are the hints after a command line, on any machine.
func onLinux(args, child []string) hints {
	h := newHints(args, child)
	h.goos = "linux"
	return h
}

// remedies are those of one action, with few facts and with all, ordinary and hostile.
func remedies(do fault.Action, facts []string) (all []fault.Remedy) {
	switch do {
	case help:
		return []fault.Remedy{{Do: do}, {Do: do, Name: "keystore init"}}
	}
	for _, fact := range facts {
		r := fault.Remedy{Do: do, Provider: "sim", Account: fact, Label: fact, Pool: fact, Path: "/home/" + fact, Value: fact}
		switch do {
		case fault.Again:
			r.Provider = ""
			all = append(all, fault.Remedy{Do: do, Name: "timeout", Value: "15m"}, fault.Remedy{Do: do, Name: "yes"})
			for _, how := range []fault.How{fault.APIKey, fault.Token, fault.Paste, fault.Device} {
				all = append(all, fault.Remedy{Do: do, How: how})
			}
			all = append(all, fault.Remedy{Do: do, Provider: "sim"}, fault.Remedy{Do: do, Pool: fact}, fault.Remedy{Do: do, Account: fact}, fault.Remedy{Do: do, Label: fact})
		case fault.WithVariable, fault.WithoutVariable, fault.SetVariable:
			r.Name = "AUTHFERRY_LOCK_TIMEOUT"
		case fault.SetSetting:
			r.Name = "failover"
		case fault.AddProvider:
			all = append(all, fault.Remedy{Do: do, Provider: "sim", Name: "token-endpoint"})
		case fault.AmendProvider:
			for _, flag := range []string{"authorization-endpoint", "client-id", "api-path", "env"} {
				all = append(all, fault.Remedy{Do: do, Provider: "sim", Name: flag}, fault.Remedy{Do: do, Name: flag})
			}
			continue
		case fault.Import:
			r.Name = "opencode"
			all = append(all, fault.Remedy{Do: do, Name: "claude-code", How: fault.Keeping, Path: fact}, fault.Remedy{Do: do, Name: "codex"})
		case fault.MigrateKeystore:
			r.Value = "file"
			all = append(all, fault.Remedy{Do: do, Value: "keychain"})
		case setUpIn:
			r.Name, r.Value = "opencode", ""
			all = append(all, fault.Remedy{Do: do, Name: "codex", Value: "proxy"})
		case execInside:
			r.Name, r.Value = "other another", "SIM_TOKEN"
		case runIt, fault.AsOwner, fault.GiveBack:
			r.Name = fact
		case fault.Login:
			for _, how := range []fault.How{fault.Browser, fault.Paste, fault.Device, fault.APIKey, fault.Token, fault.Client} {
				all = append(all, fault.Remedy{Do: do, Provider: "sim", How: how, Label: fact}, fault.Remedy{Do: do, Provider: "sim", How: how, Account: fact})
			}
			r.Account = ""
		}
		all = append(all, r)
	}
	switch do {
	case fault.SetVariable, fault.WithVariable, fault.WithoutVariable, fault.SetSetting, fault.AmendProvider,
		fault.EditFile, fault.DeleteFile, fault.ProtectFile, fault.LookAtFile, fault.GiveBack, fault.AsOwner, fault.SealKeyFile, fault.Import, setUpIn, execInside:
		return all // they take what they name
	case fault.Rename, fault.Move, fault.ShowProvider:
		return all
	}
	return append(all, fault.Remedy{Do: do})
}

// split has a shell split each line, and returns the words of each.
func split(t *testing.T, lines []string) [][]string {
	t.Helper()
	var script strings.Builder
	script.WriteString("set -f\nunset EDITOR\n")
	for _, line := range lines {
		script.WriteString("printf '%s\\0' " + line + "\nprintf '\\n\\0'\n")
	}
	cmd := exec.CommandContext(t.Context(), "sh")
	cmd.Stdin, cmd.Dir = strings.NewReader(script.String()), t.TempDir()
	out, err := cmd.Output()
	testenv.Must(t, err)
	all := strings.Split(strings.TrimSuffix(string(out), "\x00\n\x00"), "\x00\n\x00")
	if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 || len(all) != len(lines) {
		t.Fatalf("%d lines became %d, and left %v (%v)", len(lines), len(all), left, err)
	}
	words := make([][]string, len(all))
	for i := range all {
		words[i] = strings.Split(all[i], "\x00")
	}
	return words
}

// A hint carries over what its command was given.
func TestHintsCarryOver(t *testing.T) {
	at := time.Now().Add(10 * time.Minute)
	for _, row := range []struct {
		args []string
		next fault.Remedy
		want string
	}{
		{[]string{"login", "sim", "--label", "My work", "--flow=device", "--client-id", "x", "--pool", "p"}, fault.Remedy{Do: fault.Again, Name: "timeout", Value: "15m"}, "authferry login sim --label 'My work' --flow device --client-id x --pool p --timeout 15m"},
		{[]string{"add", "sim", "--renew", "ada"}, fault.Remedy{Do: fault.Again, How: fault.Paste}, "authferry login sim --renew ada --flow paste"},
		{[]string{"login", "sim", "--token-stdin", "--expires-in", "1h", "--label", "x"}, fault.Remedy{Do: fault.Again, How: fault.APIKey}, "authferry login sim --label x --api-key-stdin"},
		{[]string{"exec", "sim", "--pool", "p", "--", "curl", "a b"}, fault.Remedy{Do: fault.Wait}, "authferry exec sim --pool p --wait -- curl 'a b'"},
		{[]string{"token", "-p", "p"}, fault.Remedy{Do: fault.Wait}, "authferry token --pool p --wait"},
		{[]string{"token", "-a", "x", "-p", "p"}, fault.Remedy{Do: fault.Again, Account: "x", Pool: "q"}, "authferry token --account x --pool q"},
		{[]string{"helper", "git", "get", "--account", "x"}, fault.Remedy{Do: fault.Again}, "authferry helper git get --account x"},
		{[]string{"header", "--hold-scope", "model:opus"}, fault.Remedy{Do: fault.WithVariable, Name: "AUTHFERRY_LOCK_TIMEOUT", Value: "2m"}, "AUTHFERRY_LOCK_TIMEOUT=2m authferry header --hold-scope model:opus"},
		{[]string{"report", "Worx", "--status", "429"}, fault.Remedy{Do: fault.Instead, Account: "Work"}, "authferry report Work --status 429 # did you mean this?"},
		{[]string{"rename", "Worx", "Job"}, fault.Remedy{Do: fault.Instead, Account: "Work"}, "authferry rename Work Job # did you mean this?"},
		{[]string{"login", "sim", "--renew", "Worx"}, fault.Remedy{Do: fault.Instead, Account: "Work"}, "authferry login sim --renew Work # did you mean this?"},
		{[]string{"token", "-p", "Work"}, fault.Remedy{Do: fault.Instead, Account: "Work"}, "authferry token --account Work # did you mean this?"},
		{[]string{"token"}, fault.Remedy{Do: fault.Instead, Account: "Work"}, "authferry token --account Work # did you mean this?"},
		{[]string{"report", "Bob", "--status", "429"}, fault.Remedy{Do: fault.Again, Account: "sim/Bob", Pool: "sim"}, "authferry report sim/Bob --status 429 --pool sim"},
		{[]string{"report", "sim", "-a", "Worx"}, fault.Remedy{Do: fault.Instead, Account: "Work"}, "authferry report sim --account Work # did you mean this?"},
		{[]string{"report", "other"}, fault.Remedy{Do: fault.Again, Account: "sim/Bob", Pool: "sim"}, "authferry report other --account sim/Bob --pool sim"},
		{[]string{"token", "-a", "work"}, fault.Remedy{Do: fault.Instead, Pool: "work"}, "authferry token --pool work # did you mean this?"},
		{[]string{"remove", "Worx", "--yes"}, fault.Remedy{Do: fault.Instead, Account: "Work"}, "authferry list"},
		{[]string{"use", "work"}, fault.Remedy{Do: fault.Instead, Pool: "work"}, "authferry list"},
		{nil, fault.Remedy{Do: fault.Again}, "authferry status"},
	} {
		own, child := cutCommand(row.args)
		if got := onLinux(own, child).command(row.next); got != row.want {
			t.Errorf("%q: %s, want %s", row.args, got, row.want)
		}
	}
	h := onLinux([]string{"keystore", "status"}, nil)
	if got := h.of(&fault.Error{Code: fault.KeystoreDenied, Next: []fault.Remedy{{Do: fault.ShowKeystore}}}); got != "authferry doctor" {
		t.Errorf("keystore status hints at %q", got)
	}
	if got := newHints([]string{"token"}, nil).of(&fault.Error{Code: fault.AllHeld, RetryAt: at, Next: []fault.Remedy{{Do: fault.Wait}, {Do: fault.ShowHolds}}}); !strings.HasPrefix(got, "authferry token --wait # in ") || !strings.Contains(got, "\nauthferry holds") {
		t.Errorf("held: %q", got)
	}
	if got := newHints([]string{"token"}, nil).command(fault.Remedy{Do: fault.ShowAccount, Account: "a\nb"}); got != "" {
		t.Errorf("a line break gives %q", got)
	}
}
