package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

// takeovers are the moves of a login out of another program's file: at any instant
// it is there, or here, or both, and doing it again finishes the work.
func takeovers() (all []operation) {
	for _, from := range []struct{ program, provider, file string }{
		{"opencode", "sim", `{"sim":{"type":"oauth","refresh":"REFRESH","access":"ACCESS","expires":EXPIRES},"other":{"type":"api","key":"stays"}}`},
		{"claude-code", "anthropic", `{"claudeAiOauth":{"accessToken":"ACCESS","refreshToken":"REFRESH","expiresAt":EXPIRES,"scopes":["x"]},"mcpOAuth":{"other":"stays"}}`},
		{"codex", "openai", `{"OPENAI_API_KEY":null,"tokens":{"access_token":"ACCESS","refresh_token":"REFRESH","id_token":"e30.e30.x"},"last_refresh":"2026-11-20T08:00:00Z"}`},
		{"gemini", "google", `{"access_token":"ACCESS","refresh_token":"REFRESH","token_type":"Bearer","expiry_date":EXPIRES}`},
		{"multi-auth", "anthropic", `{"type":"multi-oauth","accounts":[{"id":"1","label":"Work","access":"ACCESS","refresh":"REFRESH","expires":EXPIRES}],"currentAccountIndex":0,"other":"stays"}`},
		{"antigravity", "google", `{"version":4,"accounts":[{"email":"a@example.com","refreshToken":"REFRESH"},{"email":"stays","refreshToken":""}],"activeIndex":0}`},
		{"opencode-mcp", "docs", `{"docs":{"serverUrl":"REMOTE","tokens":{"accessToken":"ACCESS","refreshToken":"REFRESH","expiresAt":4102444800},"clientInfo":{"clientId":"authferry-sim"}},"other":{"serverUrl":"https://stays.example/mcp","codeVerifier":"x"}}`},
	} {
		server := strict
		if from.program == "opencode-mcp" {
			server.MCP = &brokertest.MCP{}
		}
		all = append(all, operation{name: "import " + from.program, server: server,
			begin: func(w *world, user string) prepared {
				resource := ""
				switch {
				case server.MCP != nil:
					resource = w.server.URL + "/mcp"
					w.must("", "provider", "add", from.provider, "--mcp", resource)
				case from.provider != "sim":
					w.must("", "provider", "add", from.provider, "--issuer", w.server.URL, "--client-id", "authferry-sim", "--api-origin", w.server.URL)
				}
				g := w.server.IssueFor(user, resource)
				text := strings.NewReplacer("REFRESH", g.RefreshToken, "ACCESS", g.AccessToken, "EXPIRES", fmt.Sprint(time.Now().Add(time.Hour).UnixMilli()), "REMOTE", resource).Replace(from.file)
				path := filepath.Join(w.t.TempDir(), from.program, "logins.json") // outside: a token in there is no leak
				if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
					w.t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					w.t.Fatal(err)
				}
				return prepared{attempt: attempt{args: []string{"import", from.program, path, "--move", "--json"}}}
			},
			after: func(w *world, user string, a prepared) (string, []string) {
				path, token := a.args[2], w.server.Ledger().Of(user)[0].RefreshTokens[0].Token
				there, whole := inFile(path, token, strings.Contains(from.file, "stays"))
				idx, err := w.index()
				if err != nil {
					return "error", []string{"I8: " + err.Error()}
				}
				here := idx != nil && len(idx.Accounts) > 0
				outcome := map[[2]bool]string{{true, false}: "in the file", {true, true}: "in both", {false, true}: "here", {false, false}: "nowhere"}[[2]bool{there, here}]
				var broken []string
				if !there && !here {
					broken = append(broken, "the login is nowhere")
				}
				if !whole {
					broken = append(broken, "the other program's file is damaged")
				}
				locks := outlived(path)
				if again := w.run("", a.args...); again.code != 0 && (there || again.failure != "no_account") {
					broken = append(broken, fmt.Sprintf("I5: the same command again: exit code %d: %s", again.code, again.err))
				}
				if there, whole = inFile(path, token, strings.Contains(from.file, "stays")); there || !whole {
					broken = append(broken, "done again, the file still has the login, or is damaged")
				}
				for _, lock := range locks {
					if outcome == "here" {
						break // nothing was left to do; the other program takes old locks away itself
					}
					if _, err := os.Stat(lock); err == nil {
						broken = append(broken, "a lock of the other program's is left: "+lock)
					}
				}
				if idx, err = w.index(); err != nil || idx == nil || len(idx.Accounts) != 1 {
					return outcome, append(broken, fmt.Sprintf("I5: not one account: %v", err))
				}
				got, more := w.served(idx.Accounts[0].ID)
				if broken = append(broken, more...); got != "served" {
					broken = append(broken, "I5: then its token: "+got)
				}
				if n := reusesOf(w.server.Ledger(), user); n > 0 {
					broken = append(broken, "I1: a refresh token was sent twice")
				}
				return outcome, append(broken, w.mended()...)
			}})
	}
	return all
}

// outlived makes the locks of the other program's, which a killed import leaves for a
// minute, older than that.
func outlived(path string) (locks []string) {
	for _, pattern := range []string{filepath.Join(filepath.Dir(path), ".*.lock"), filepath.Dir(path) + ".lock"} {
		found, _ := filepath.Glob(pattern)
		locks = append(locks, found...)
	}
	old := time.Now().Add(-2 * time.Minute)
	for _, lock := range locks {
		_ = os.Chtimes(lock, old, old)
	}
	return locks
}

// inFile reports whether the other program's file has the login, and whether all
// else that was in it is there.
func inFile(path, token string, others bool) (there, whole bool) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, !others
	}
	return bytes.Contains(data, []byte(token)), err == nil && (!others || bytes.Contains(data, []byte("stays")))
}
