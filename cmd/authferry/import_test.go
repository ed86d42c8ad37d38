package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

// issue FILE USER… logs each user in at the script's server and writes the tokens
// in the place of @USER.access@ and @USER.refresh@ in a file. USER@PATH: at the MCP server
// of that path.
func issue(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*brokertest.Server)
	text := ts.ReadFile(args[0])
	for _, user := range args[1:] {
		user, path, at := strings.Cut(user, "@/")
		resource := ""
		if at {
			resource = s.URL + "/" + path
		}
		g := s.IssueFor(user, resource)
		text = strings.NewReplacer("@"+user+".access@", g.AccessToken, "@"+user+".refresh@", g.RefreshToken).Replace(text)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// nowhere WORD… wants none of the words in any file of the script but its own.
func nowhere(ts *testscript.TestScript, _ bool, words []string) {
	ts.Check(authferrytest.Leaked(words, ts.Getenv("HOME"), ts.Getenv("AUTHFERRY_DIR"), ts.Getenv("TMPDIR")))
}

// foreign is OpenCode's file with a new login, outside of the scene.
func (s *scene) foreign() string {
	s.T.Helper()
	g := s.Server.Issue("eve")
	path := filepath.Join(s.T.TempDir(), "auth.json")
	text := fmt.Sprintf(`{"sim":{"type":"oauth","refresh":%q,"access":%q,"expires":4102358400000}}`, g.RefreshToken, g.AccessToken)
	testenv.Must(s.T, os.WriteFile(path, []byte(text), 0o600))
	return path
}
