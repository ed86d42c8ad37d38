package source

import (
	"path/filepath"

	"github.com/authferry/authferry/keystore"
)

// antigravity is a plugin of OpenCode for several accounts at Google: {"version": 1 to 4,
// "accounts": […], "activeIndex", "activeIndexByFamily"}. It stores no access tokens. The
// limits that it remembers are by model, except for one cool-down.
var antigravity = Source{
	Name: "antigravity", Title: "OpenCode's Antigravity plugin", Login: "opencode auth login",
	places: func(home string) []string {
		const name = "antigravity-accounts.json"
		return append([]string{
			filepath.Join(folder("OPENCODE_CONFIG_DIR", folder("XDG_CONFIG_HOME", home, ".config"), "opencode"), name),
			filepath.Join(folder("XDG_CONFIG_HOME", home, ".config"), "opencode", name),
		}, windowsFolder("APPDATA", "opencode", name)...)
	},
	parse: parseAntigravity,
}

func parseAntigravity(f *File) error {
	list := f.root.get("accounts")
	if !list.isList() || f.root.get("version").absent() {
		return errForeign
	}
	current := f.points("activeIndex", list)
	for _, m := range f.root.get("activeIndexByFamily").entries() {
		f.pointsFrom(m.value, list)
	}
	for i, v := range list.elements {
		entry := nameOf(i, v.get("email").text())
		if wrong := notText(v, "refreshToken", "email"); wrong != "" || !v.isObject() {
			f.skip(entry, "it is not an account of that plugin")
			continue
		}
		l := Login{
			Entry: entry, Provider: "google", RefreshToken: keystore.NewSecret(v.get("refreshToken").text()),
			HeldUntil: v.get("coolingDownUntil").moment(), Disabled: v.get("enabled").is("false"), Current: i == current,
		}
		l.Identity.Name = v.get("email").text()
		if v.get("isRateLimited").is("true") { // version 1
			l.HeldUntil = v.get("rateLimitResetTime").moment()
		}
		if l.RefreshToken.Empty() {
			f.skip(entry, "it is empty")
			continue
		}
		f.take(l, item{list, i})
	}
	return nil
}

func (n *node) entries() []member {
	if n == nil {
		return nil
	}
	return n.members
}
