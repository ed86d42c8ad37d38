package main

import (
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authferry/authferry/broker/brokertest"
)

// issue FILE USER… logs each user in at the script's server and writes the tokens
// in the place of @USER.access@ and @USER.refresh@ in a file.
func issue(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*brokertest.Server)
	text := ts.ReadFile(args[0])
	for _, user := range args[1:] {
		g := s.Issue(user)
		text = strings.NewReplacer("@"+user+".access@", g.AccessToken, "@"+user+".refresh@", g.RefreshToken).Replace(text)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// nowhere WORD… wants none of the words in any file of the script but its own.
func nowhere(ts *testscript.TestScript, _ bool, words []string) {
	ts.Check(leaked(words, ts.Getenv("HOME"), ts.Getenv("AUTHFERRY_DIR"), ts.Getenv("TMPDIR")))
}
