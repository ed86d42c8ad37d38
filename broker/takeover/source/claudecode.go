package source

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/user"
	"path/filepath"

	"golang.org/x/text/unicode/norm"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/rawtext"
)

// claudeCode stores {"claudeAiOauth": {…}}, beside members that are not about the login.
var claudeCode = Source{
	Name: "claude-code", Title: "Claude Code", Login: "claude auth login",
	places: func(home string) []string {
		return []string{filepath.Join(folder("CLAUDE_CONFIG_DIR", home, ".claude"), ".credentials.json")}
	},
	parse: parseClaudeCode,
	locks: func(path string) []string {
		dir := filepath.Dir(path)
		return []string{filepath.Join(dir, ".oauth_refresh.lock"), dir + ".lock"}
	},
	item: claudeItem,
}

// claudeItem depends on the user and, if one is set, on the configuration folder.
func claudeItem() (service, account string) {
	service, account = "Claude Code-credentials", os.Getenv("USER")
	if u, err := user.Current(); account == "" && err == nil {
		account = u.Username
	}
	if dir := cmp.Or(os.Getenv("CLAUDE_SECURESTORAGE_CONFIG_DIR"), os.Getenv("CLAUDE_CONFIG_DIR")); dir != "" {
		sum := sha256.Sum256([]byte(norm.NFC.String(dir)))
		service += "-" + hex.EncodeToString(sum[:4])
	}
	return service, account
}

func parseClaudeCode(f *File) error {
	const entry = "claudeAiOauth"
	i := f.root.find(entry)
	if i < 0 {
		return nil
	}
	v := f.root.members[i].value
	if v.absent() {
		return nil
	}
	if wrong := notText(v, "accessToken", "refreshToken"); wrong != "" || !v.isObject() {
		f.skip(entry, "it is not an entry of Claude Code")
		return nil
	}
	l := Login{
		Entry: entry, Provider: "anthropic",
		AccessToken: keystore.NewSecret(v.get("accessToken").text()), RefreshToken: keystore.NewSecret(v.get("refreshToken").text()),
		RefreshExpiresAt: v.get("refreshTokenExpiresAt").moment(), Scopes: v.get("scopes").words(),
	}
	l.expires(v.get("expiresAt"))
	if l.Secret().Empty() {
		f.skip(entry, "it is empty")
		return nil
	}
	l.Identity.Name = claudeName(f.target)
	f.take(l, item{f.root, i})
	return nil
}

// claudeName is the address that Claude Code shows for the login. It is in another file and
// may be that of an earlier login, so it is used as a name only.
func claudeName(path string) string {
	if path == "" {
		return ""
	}
	dir := filepath.Dir(path)
	beside := filepath.Join(dir, ".claude.json")
	if filepath.Base(dir) == ".claude" {
		beside = dir + ".json"
	}
	data, _, err := read(beside)
	if err != nil {
		return ""
	}
	if data, err = rawtext.UTF8(data); err != nil {
		return ""
	}
	root, err := parse(data)
	if err != nil {
		return ""
	}
	return root.get("oauthAccount").get("emailAddress").text()
}
