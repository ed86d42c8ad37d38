package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/authferry/authferry/broker"
)

// homeCmd is authferry alone: what is set up, what is found, what to do next. It
// touches neither network nor keychain.
type homeCmd struct{ jsonFlag }

// others are the files in which other programs keep logins, below the home folder.
var others = []struct{ name, path string }{
	{"Claude Code", ".claude/.credentials.json"},
	{"Codex", ".codex/auth.json"},
	{"Gemini CLI", ".gemini/oauth_creds.json"},
	{"OpenCode", ".local/share/opencode/auth.json"},
}

func (c *homeCmd) Run(a *app) error {
	s, err := a.broker.Status()
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(s)
	}
	t := newTable()
	t.add("authferry " + version())
	t.add("keystore", s.Keystore.Kind+"; does it work? authferry doctor")
	var next []string
	count := 0
	for _, p := range s.Pools {
		var names []string
		for _, v := range p.Accounts {
			count++
			names = append(names, v.Label)
			if v.State == broker.NeedsLogin {
				next = append(next, fmt.Sprintf("authferry login %s --renew %q", v.Provider, v.Label))
			}
		}
		if len(names) > 4 {
			names = append(names[:4], fmt.Sprintf("and %d more", len(names)-4))
		}
		if len(t.rows) < 6 {
			t.add("pool "+p.Name, strings.Join(names, ", "))
		}
	}
	if count == 0 {
		t.add("accounts", "none yet")
		next = []string{"authferry provider list", "authferry login PROVIDER"}
	}
	if found := loginsOfOthers(); found != nil {
		t.add("found", "logins of "+strings.Join(found, ", "))
		next = append(next, "authferry import --help")
	}
	if len(next) == 0 {
		next = []string{"authferry status", "authferry token"}
	}
	for i, command := range next[:min(len(next), 3)] {
		title := "next"
		if i > 0 {
			title = ""
		}
		t.add(title, command)
	}
	t.add("all commands", "authferry --help")
	return t.print(a.out)
}

// loginsOfOthers looks for the files and does not open them.
func loginsOfOthers() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	var found []string
	for _, o := range others {
		if info, err := os.Stat(filepath.Join(home, filepath.FromSlash(o.path))); err == nil && info.Mode().IsRegular() {
			found = append(found, o.name)
		}
	}
	return found
}
