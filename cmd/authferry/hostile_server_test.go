package main

import (
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// A remote MCP server and its authorization server are an attacker's, and a person logs in
// there and uses them as any other. They see what is theirs and nothing of other logins;
// nothing at all is shown to them while they are searched and registered at; and nothing but
// a login registers.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	address := v.evil.URL + "/mcp"
	v.s.Must("", "login", address, "--name", "evil", "--label", "Evil")
	for _, test := range []struct {
		args string
		code int
	}{
		{"token --account Evil --json", exitOK}, {"helper mcp-headers --account Evil " + address, exitOK}, {"helper mcp-headers " + address, exitOK},
		{"mcp connect evil --verbose", exitOK}, {"mcp connect " + address, exitOK}, {"refresh Evil --now", exitOK}, {"status", exitOK}, {"list --json", exitOK}, {"provider list", exitOK},
		{"helper mcp-headers --account Docs " + address, exitFenced}, {"helper mcp-headers --account Svc " + address, exitFenced}, {"helper mcp-headers --account Ada " + address, exitFenced},
		{"mcp connect evil --account Docs", exitAccount}, {"mcp connect " + address + " --account Svc", exitFenced}, {"mcp connect " + address + " --account Ada", exitFenced}, {"mcp connect " + address + " --account Key", exitFenced},
		{"mcp connect docs --account Evil", exitAccount}, {"helper mcp-headers --account Evil " + v.s.Server.URL + "/mcp", exitFenced},
		{"login evil --renew Docs", exitAccount}, {"login evil --renew Evil --scope more", exitOK}, {"login evil --flow client --label Third", exitUsage},
		{"doctor", exitOK}, {"setup cursor --mcp evil --account Evil --print", exitOK}, {"token docs --account Docs", exitOK}, {"token --account Svc", exitOK},
		{"remove Evil --yes", exitOK}, {"provider remove evil", exitOK},
	} {
		stdin := ""
		if strings.HasPrefix(test.args, "mcp") {
			stdin = calls
		}
		args := strings.Fields(test.args)
		got := v.s.Run(stdin, args...)
		if got.Code != test.code {
			t.Errorf("%s: %d, want %d\n%s%s", test.args, got.Code, test.code, got.Out, got.Err)
		}
		v.s.wantSilence(got, args)
		for _, odd := range []string{"$(touch", "\x1b"} {
			if strings.Contains(got.Out+got.Err, odd) {
				t.Errorf("%s: %q of the server's is in\n%s%s", test.args, odd, got.Out, got.Err)
			}
		}
	}
	v.s.Rest()
	registered, known, used := 0, 0, 0
	for _, request := range v.heardNothing() {
		first, _, _ := strings.Cut(request, "\n")
		method, path, _ := strings.Cut(first, " ")
		credential := strings.Contains(request, "Authorization:[") || strings.Contains(request, "client_secret") || strings.Contains(request, "Cookie:[")
		switch {
		case method == "POST" && path == "/register":
			registered++
			fallthrough
		case strings.HasPrefix(path, "/.well-known/"):
			known++
			if credential || strings.Contains(request, "stolen") {
				t.Errorf("a credential is in\n%s", request)
			}
		case credential:
			used++
		}
	}
	if registered != 1 || known < 4 || used == 0 {
		t.Errorf("registered %d times; %d requests were to show nothing, %d had a credential", registered, known, used)
	}
	testenv.Check(t, v.s.leaked())
}
