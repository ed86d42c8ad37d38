package source

import (
	"path/filepath"

	"github.com/authferry/authferry/keystore"
)

// gemini stores one login, {"access_token", "refresh_token", "id_token"?, "expiry_date",
// "scope"}. Without a file it is logged out.
var gemini = Source{
	Name: "gemini", Title: "Gemini CLI", Login: "gemini",
	places: func(home string) []string { return []string{filepath.Join(home, ".gemini", "oauth_creds.json")} },
	parse:  parseGemini,
	over:   func(root *node) bool { return root.find("access_token") < 0 && root.find("refresh_token") < 0 },
}

func parseGemini(f *File) error {
	const entry = "oauth_creds"
	if wrong := notText(f.root, "access_token", "refresh_token"); wrong != "" {
		f.skip(entry, wrong)
		return nil
	}
	l := Login{
		Entry: entry, Provider: "google",
		AccessToken: keystore.NewSecret(f.root.get("access_token").text()), RefreshToken: keystore.NewSecret(f.root.get("refresh_token").text()),
		Scopes: f.root.get("scope").words(), Identity: identityIn(f.root.get("id_token").text()),
	}
	l.expires(f.root.get("expiry_date"))
	if l.Secret().Empty() {
		f.skip(entry, "it is empty")
		return nil
	}
	if l.Identity.Issuer == "accounts.google.com" { // another spelling that Google itself uses
		l.Identity.Issuer = "https://accounts.google.com"
	}
	var cut []item
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if i := f.root.find(name); i >= 0 {
			cut = append(cut, item{f.root, i})
		}
	}
	f.take(l, cut...)
	return nil
}
