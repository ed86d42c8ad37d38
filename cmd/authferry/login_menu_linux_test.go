package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

// The keys that the people of these tests type.
const (
	typedKey  = "sk-ant-api03-canary-one"
	secondKey = "sk-ant-api03-canary-two"
)

// alone is a scene in which nothing but what is named is installed.
func alone(t *testing.T, installed ...string) *scene {
	t.Helper()
	s := newScene(t, brokertest.Config{})
	bin := filepath.Join(s.Root, "bin")
	testenv.Must(t, os.Mkdir(bin, 0o700))
	for _, name := range installed {
		testenv.Must(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o700))
	}
	self, err := os.Executable()
	testenv.Must(t, err)
	testenv.Must(t, os.Symlink(self, filepath.Join(bin, "person")))
	testenv.Must(t, os.Symlink(s.Program, filepath.Join(bin, "authferry")))
	s.Env = append(slices.DeleteFunc(s.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=") || strings.HasPrefix(v, "SSH_") }), "PATH="+bin)
	return s
}

func (s *scene) labels() (all []string) {
	s.T.Helper()
	var doc struct {
		Accounts []struct{ Label, Provider string }
	}
	testenv.Must(s.T, json.Unmarshal([]byte(s.Must("", "list", "--json").Out), &doc))
	for _, a := range doc.Accounts {
		all = append(all, a.Provider+"/"+a.Label)
	}
	return all
}

// keepsNone wants no secret on the screen, and none in a file that isn't sealed.
func keepsNone(s *scene, shown string, secrets ...string) {
	s.T.Helper()
	for _, secret := range secrets {
		if strings.Contains(shown, secret) {
			s.T.Errorf("the terminal shows %s:\n%s", secret, shown)
		}
	}
	testenv.Check(s.T, authferrytest.Leaked(secrets, s.Root))
}

// Two API keys and OpenCode take three commands, and nobody has read a manual: two
// logins, and then opencode, which the first of them has set up.
func TestWalkOfTwoKeysAndOpenCode(t *testing.T) {
	t.Parallel()
	s := alone(t, "opencode")
	config := filepath.Join(s.Root, "home", ".config", "opencode")
	home := s.sit()
	home.sees(`next +authferry login\b`)
	home.ends(exitOK)

	one := s.sit("login")
	one.sees(`Log in to which provider\?`)
	one.sees(` 1\) anthropic +API key, token, browser \(with your own client id\)`)
	one.answers(`\[1\]: `, "")
	one.answers(`How\?\s+1\) key +an API key that you have\s+2\) token +a token that claude setup-token makes\s+3\) browser .*\s+\[1\]: `, "key")
	one.answers(`Label \[anthropic-1\]: `, "Personal")
	one.answers(`API key \(not shown\): `, typedKey)
	one.sees(`account "Personal" of anthropic is in the sealed file keystore`)
	one.answers(`Set up OpenCode to use it\? \[Y/n\] `, "")
	one.answers(`\+[^\n]+authferry[^\n]*\s+(?s:.*)Write this\? \[Y/n\] `, "y")
	one.sees(`opencode is set up`)
	shown := one.ends(exitOK)
	if found, err := os.ReadDir(config); err != nil || len(found) == 0 {
		t.Errorf("OpenCode is not set up: %v", err)
	}

	two := s.sit("login")
	two.answers(`\[1\]: `, "anthropic")
	two.answers(`How\?(?s:.*)\[1\]: `, "1")
	two.answers(`Label \[anthropic-1\]: `, "")
	two.answers(`API key \(not shown\): `, secondKey)
	shown += two.ends(exitOK)
	if strings.Count(shown, "Set up OpenCode") != 1 {
		t.Error("what is set up is offered again")
	}
	again := s.sit("login", "--renew", "Personal") // what it is renewed by is known
	again.answers(`^API key \(not shown\): `, typedKey)
	again.sees(`account "Personal" of anthropic has a new login`)
	shown += again.ends(exitOK)
	three := s.sit("add", "Family")
	three.answers(`new account "Family" at anthropic\? \[Y/n\] `, "")
	three.answers(`How\?(?s:.*)\[1\]: `, "")
	three.answers(`API key \(not shown\): `, secondKey+"-other")
	shown += three.ends(exitOK)
	if got := s.labels(); !slices.Equal(got, []string{"anthropic/Personal", "anthropic/anthropic-1", "anthropic/Family"}) {
		t.Error(got)
	}
	keepsNone(s, shown, typedKey, secondKey)
	if got := s.Must("", "token", "--account", "Personal").Out; got != typedKey+"\n" {
		t.Errorf("the key came out as %q", got)
	}
}

// Programs that are installed, could use the account and aren't set up are offered, and
// home suggests them; a no keeps the login, and the input's end asks no more.
func TestProgramsAreOffered(t *testing.T) {
	t.Parallel()
	s := alone(t, "opencode", "claude", "codex", "gemini")
	home := s.sit()
	if shown := home.ends(exitOK); strings.Contains(shown, "setup") || strings.Contains(shown, "run") {
		t.Errorf("without an account there is nothing to set up for:\n%s", shown)
	}
	x := s.sit("login", "--label", "Work", "--api-key-stdin")
	x.answers(`Log in to which provider\?(?s:.*)\[1\]: `, "anthropic")
	x.answers(`API key \(not shown\): `, typedKey)
	x.answers(`Set up OpenCode to use it\? \[Y/n\] `, "n")
	x.answers(`Set up Claude Code to use it\? \[Y/n\] `, "yes")
	x.answers(`apiKeyHelper(?s:.*)Write this\? \[Y/n\] `, "n")
	x.sees(`nothing was changed`)
	if shown := x.ends(exitOK); strings.Contains(shown, "Codex") || strings.Contains(shown, "error") {
		t.Error(shown)
	}
	home = s.sit()
	home.sees(`next +authferry setup opencode\s+authferry run -- claude\s+all commands`)
	home.ends(exitOK)

	x = s.sit("login")
	x.answers(`\[1\]: `, "openai")
	x.answers(`How\?(?s:.*)\[1\]: `, "")
	x.answers(`Label \[openai-1\]: `, "")
	x.answers(`API key \(not shown\): `, "sk-canary-of-openai")
	x.types(`Set up OpenCode to use it\? \[Y/n\] `, "\x04")
	x.sees(`OpenCode was not set up; to do it later: authferry setup opencode`)
	x.ends(exitOK)
	if got := s.labels(); !slices.Equal(got, []string{"anthropic/Work", "openai/openai-1"}) {
		t.Error(got)
	}
	s.Must("", "setup", "claude-code", "--pool", "anthropic")
	s.Must("", "setup", "opencode")
	home = s.sit()
	home.sees(`next +authferry run -- codex\s+all commands`)
	home.ends(exitOK)
}

// Where a pool has to be named, a person picks one; everybody else gets the choices.
func TestWhichPool(t *testing.T) {
	t.Parallel()
	s := alone(t, "claude")
	s.Must(typedKey, "login", "anthropic", "--api-key-stdin", "--label", "One", "--pool", "home")
	s.Must(secondKey, "login", "anthropic", "--api-key-stdin", "--label", "Two", "--pool", "work")
	x := s.sit("setup", "claude-code")
	x.answers(`whose token should Claude Code get\?\s+1\) home +One\s+2\) work +Two\s+\[1\]: `, "3")
	x.answers(`A number from 1 to 2, please\.\s+\[1\]: `, "work")
	x.answers(`--pool work(?s:.*)Write this\? \[Y/n\] `, "")
	x.sees(`claude-code is set up`)
	x.ends(exitOK)
	x = s.sit("run", "--", "claude")
	x.types(`Which pool\?\s+1\) home +One\s+2\) work +Two\s+\[1\]: `, "\x04")
	x.sees(`nothing was changed`)
	x.ends(exitDeclined)
	x = s.sit("run", "--", "claude")
	x.answers(`\[1\]: `, "2")
	x.ends(exitOK)
	for _, args := range [][]string{{"setup", "claude-code"}, {"run", "--", "claude"}} {
		if got := s.Run("", args...); got.Code != exitAccount || !strings.Contains(got.Err, "hint: authferry "+args[0]) {
			t.Errorf("%v: %d %s", args, got.Code, got.Err)
		}
	}
}

// Whatever is declined changes nothing, and is no error: no, the input's end and Ctrl-C,
// at every question.
func TestLoginIsDeclined(t *testing.T) {
	t.Parallel()
	s := alone(t)
	for name, end := range map[string]struct {
		typed string
		code  int
		says  string
	}{
		"the end": {"\x04", exitDeclined, "\nnothing was changed\n"},
		"Ctrl-C":  {"\x03", exitInterrupt, "interrupted; nothing was changed; try again: authferry login"},
	} {
		for depth, question := range []string{`\[1\]: `, `How\?(?s:.*)\[1\]: `, `Label \[anthropic-1\]: `, `API key \(not shown\): `} {
			x := s.sit("login")
			for _, before := range []string{`\[1\]: `, `How\?(?s:.*)\[1\]: `, `Label \[anthropic-1\]: `}[:depth] {
				x.answers(before, "")
			}
			x.types(question, end.typed)
			if shown := x.ends(end.code); !strings.Contains(shown, end.says) || strings.Contains(shown, "error") {
				t.Errorf("%s at %s:\n%s", name, question, shown)
			}
		}
	}
	if got := s.labels(); got != nil {
		t.Error(got)
	}
}

// A secret that is typed where it doesn't belong, or is another one than is asked for, is
// noticed, and kept nowhere.
func TestSecretsInTheWrongPlace(t *testing.T) {
	t.Parallel()
	s := alone(t)
	const refresh, admin, unknown = "sk-ant-ort01-canary-refresh", "sk-ant-admin01-canary-admin", "canary-of-another-service"
	x := s.sit("login", "anthropic", "--api-key-stdin")
	x.answers(`Label \[anthropic-1\]: `, typedKey)
	x.sees(`That is a secret`)
	x.answers(`Label \[anthropic-1\]: `, "a/b")
	x.sees(`invalid label`)
	x.answers(`Label \[anthropic-1\]: `, "Work")
	x.answers(`API key \(not shown\): `, refresh)
	x.sees(`error: this is a refresh token of anthropic`)
	shown := x.ends(exitUsage)

	x = s.sit("login", "anthropic", "--api-key-stdin", "--label", "Work")
	x.answers(`API key \(not shown\): `, admin)
	x.sees(`error: this is an admin key of anthropic`)
	shown += x.ends(exitUsage)

	x = s.sit("login", "anthropic", "--api-key-stdin", "--label", "Work")
	x.answers(`API key \(not shown\): `, unknown)
	x.answers(`This doesn't begin as an API key of anthropic does \(sk-ant-api…\)\. Keep it\? \[y/N\] `, "")
	x.sees(`nothing was changed`)
	shown += x.ends(exitDeclined)

	x = s.sit("login", "github", "--token-stdin", "--label", "Work")
	x.answers(`Token \(not shown\): `, "short")
	x.answers(`This is short for a token\. Keep it\? \[y/N\] `, "n")
	shown += x.ends(exitDeclined)
	if got := s.labels(); got != nil {
		t.Error(got)
	}
	keepsNone(s, strings.Replace(shown, typedKey, "", 1), typedKey, refresh, admin, unknown) // the terminal itself showed the label

	s.Must(typedKey, "login", "anthropic", "--api-key-stdin", "--label", "Work")
	x = s.sit("login", "anthropic", "--api-key-stdin", "--label", "work")
	x.sees(`label "Work" is taken at anthropic`)
	if shown := x.ends(exitAccount); strings.Contains(shown, "not shown") {
		t.Error("the key was asked for before its label was looked at")
	}
}

// An own provider is in the menu, its login goes by the browser, and the pool is asked
// for once there are several. Home and setup are offered for nothing that isn't there.
func TestMenuOfAnOwnProvider(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--api-origin", s.Server.URL)
	x := s.sit("login")
	x.answers(`sim +browser\s+\d+\) another +a remote MCP server, by its https address\s+\[1\]: `, "sim")
	x.answers(`Label \[your name there\]: `, "")
	x.sees(`account "ada@example.com" of sim`)
	x.ends(exitOK)
	s.Must("", "move", "ada@example.com", "--pool", "work")

	testenv.Must(t, s.Server.Configure(func(c *brokertest.Config) { c.SignedIn = "bob@example.com" }))
	x = s.sit("login")
	x.answers(`\[6\]: `, "") // the only one in use
	x.answers(`Which pool\?(?s:.*)1\) sim +the provider's own\s+2\) work +ada@example.com\s+\[1\]: `, "2")
	x.answers(`Label \[your name there\]: `, "Bob")
	x.sees(`account "Bob" of sim`)
	shown := x.ends(exitOK)
	if strings.Contains(shown, "Set up") {
		t.Error(shown)
	}
	if got := s.Must("", "status", "--json").Out; strings.Count(got, `"name":"work"`) != 1 || strings.Contains(got, `"name":"sim"`) {
		t.Error(got)
	}
}

// An address of no MCP server ends in the command that adds an issuer; without a terminal
// the list is all there is.
func TestMenuOfAnAddress(t *testing.T) {
	t.Parallel()
	s := alone(t)
	x := s.sit("login")
	x.answers(`\[1\]: `, "another")
	x.answers(`Its address \(https://mcp.example.com/mcp\): `, s.Server.URL)
	x.sees(`hint: authferry provider add [0-9.-]+ --issuer ` + s.Server.URL + ` --client-id ID`)
	x.ends(exitUsage)

	// One that is, and then again by its name: few say whose login it is, so a label is needed.
	x = s.sit("login")
	x.answers(`\[1\]: `, s.Server.URL+"/mcp")
	x.sees(`MCP server: +` + s.Server.URL + `/mcp(?s:.*)account "(\S+)-1" of \S+ is in`)
	x.ends(exitOK)
	x = s.sit("login")
	x.answers(`remote MCP server\s+7\) another(?s:.*)\[6\]: `, "")
	x.answers(`Label \[\S+-2\]: `, "Second")
	x.sees(`account "Second" of`)
	x.ends(exitOK)
	for _, args := range [][]string{{"login"}, {"login", "--json"}, {"login", "--no-input", "--label", "x"}} {
		got := s.Run("", args...)
		if got.Code != exitUsage || !strings.Contains(got.Err, "log in where? anthropic, github, google, microsoft, openai, 127.0.0.1") || !strings.Contains(got.Err, "or the https address of a remote MCP server") {
			t.Errorf("%v: %d %s", args, got.Code, got.Err)
		}
	}
}

// Who came by SSH has no browser here: the login says how one elsewhere can bring the
// answer, in commands that can be pasted.
func TestLoginOverSSH(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.Must("", "provider", "add", "sim", "--authorization-endpoint", s.Server.URL+"/authorize", "--token-endpoint", s.Server.URL+"/token", "--client-id", "authferry-sim")
	s.Env = slices.DeleteFunc(s.Env, func(v string) bool {
		return strings.HasPrefix(v, "BROWSER=") || strings.HasPrefix(v, "DISPLAY=") || strings.HasPrefix(v, "WAYLAND_DISPLAY=")
	})
	s.Env = append(s.Env, "USER=ada", "SSH_CONNECTION=192.0.2.1 50000 192.0.2.7 2222")
	x := s.sit("login", "sim", "--label", "Work")
	x.sees(`No browser was opened \(there is no display\)`)
	x.sees(`hint: ssh -N -L (\d+):127\.0\.0\.1:\d+ ssh://ada@192\.0\.2\.7:2222 #`)
	x.types(`hint: authferry login sim --label Work --flow paste`, "\x03")
	if shown := x.ends(exitInterrupt); !strings.Contains(shown, "nothing was changed") {
		t.Error(shown)
	}
	// In the menu that flow is taken at once.
	x = s.sit("login")
	x.answers(`\[1\]: `, "sim")
	x.answers(`Label \[your name there\]: `, "Work")
	x.types(`Then paste the code, or the address of the last page, here:`, "\x04")
	if shown := x.ends(exitDeclined); strings.Contains(shown, "ssh -N") {
		t.Error(shown)
	}
}
