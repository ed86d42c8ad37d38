package source

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/authferry/authferry/keystore"
)

// codex stores {"auth_mode", "OPENAI_API_KEY", "tokens": {…}, "last_refresh"}.
var codex = Source{
	Name: "codex", Title: "Codex", Login: "codex login",
	places: func(home string) []string {
		return []string{filepath.Join(folder("CODEX_HOME", home, ".codex"), "auth.json")}
	},
	parse: parseCodex,
	// Codex takes any file for a login, so to log out is to have no file.
	over: func(root *node) bool {
		return !slices.ContainsFunc(root.members, func(m member) bool {
			return m.name != "auth_mode" && m.name != "last_refresh" && !m.value.absent()
		})
	},
}

// codexLifetime is how long after the last refresh Codex itself refreshes a token that
// doesn't say when it expires.
const codexLifetime = 8 * 24 * time.Hour

func parseCodex(f *File) error {
	mode := f.root.get("auth_mode").text()
	// The mode is removed with the login that it names; the rest decides without it.
	with := func(names ...string) (cut []item) {
		for _, name := range names {
			if i := f.root.find(name); i >= 0 {
				cut = append(cut, item{f.root, i})
			}
		}
		return cut
	}
	if wrong := notText(f.root, "OPENAI_API_KEY"); wrong != "" {
		f.skip("OPENAI_API_KEY", wrong)
	} else if key := f.root.get("OPENAI_API_KEY").text(); key != "" {
		names := []string{"OPENAI_API_KEY"}
		if mode == "apikey" {
			names = append(names, "auth_mode")
		}
		f.take(Login{Entry: "OPENAI_API_KEY", Provider: "openai", APIKey: keystore.NewSecret(key)}, with(names...)...)
	}
	for _, name := range []string{"agent_identity", "personal_access_token"} {
		if !f.root.get(name).absent() {
			f.skip(name, "it is for Codex alone")
		}
	}
	t := f.root.get("tokens")
	if t.absent() {
		return nil
	}
	if wrong := notText(t, "access_token", "refresh_token"); wrong != "" || !t.isObject() {
		f.skip("tokens", "it is not an entry of Codex")
		return nil
	}
	l := Login{
		Entry: "tokens", Provider: "openai",
		AccessToken: keystore.NewSecret(t.get("access_token").text()), RefreshToken: keystore.NewSecret(t.get("refresh_token").text()),
		Identity: identityIn(t.get("id_token").text()),
	}
	if l.Secret().Empty() {
		f.skip("tokens", "it is empty")
		return nil
	}
	l.ExpiresAt = expiry(l.AccessToken.Reveal())
	if last := f.root.get("last_refresh").moment(); !last.IsZero() && l.ExpiresAt.IsZero() {
		l.ExpiresAt = last.Add(codexLifetime)
	}
	names := []string{"tokens", "last_refresh"}
	if mode == "chatgpt" || mode == "chatgptAuthTokens" {
		names = append(names, "auth_mode")
	}
	f.take(l, with(names...)...)
	return nil
}
