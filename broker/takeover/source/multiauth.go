package source

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/authferry/authferry/keystore"
)

// multiAuth is a plugin of OpenCode for several accounts at Anthropic. Its file has two
// forms: {"type": "multi-oauth", "accounts": […], "currentAccountIndex", "autoFailover"}
// and {"version": 1, "accounts": […], "activeIndex"}.
var multiAuth = Source{
	Name: "multi-auth", Title: "OpenCode's multi-auth plugin", Login: "opencode auth login",
	places: func(home string) []string {
		return []string{
			filepath.Join(home, ".config", "opencode", "multi-auth.json"),
			filepath.Join(home, ".config", "opencode", "anthropic-accounts.json"),
		}
	},
	parse: parseMultiAuth,
}

func parseMultiAuth(f *File) error {
	list := f.root.get("accounts")
	multi := f.root.get("type").text() == "multi-oauth"
	if !list.isList() || !multi && f.root.get("version").absent() {
		return errForeign
	}
	names := struct{ label, access, refresh, expires, held, current string }{"label", "access", "refresh", "expires", "rateLimitedUntil", "currentAccountIndex"}
	if !multi {
		names.label, names.access, names.refresh, names.expires, names.held, names.current = "name", "accessToken", "refreshToken", "expiresAt", "rateLimitResetTime", "activeIndex"
	}
	current := f.points(names.current, list)
	if v := f.root.get("autoFailover"); v.is("true") || v.is("false") {
		on := v.is("true")
		f.Failover = &on
	}
	for i, v := range list.elements {
		entry := nameOf(i, v.get(names.label).text())
		if wrong := notText(v, names.access, names.refresh); wrong != "" || !v.isObject() {
			f.skip(entry, "it is not an account of that plugin")
			continue
		}
		l := Login{
			Entry: entry, Provider: "anthropic", Label: v.get(names.label).text(),
			AccessToken: keystore.NewSecret(v.get(names.access).text()), RefreshToken: keystore.NewSecret(v.get(names.refresh).text()),
			HeldUntil: v.get(names.held).moment(), Current: i == current,
		}
		l.expires(v.get(names.expires))
		l.Identity.Name = v.get("email").text()
		switch {
		case l.Secret().Empty():
			f.skip(entry, "it is empty")
		case strings.HasPrefix(v.get("id").text(), "test-account-") && strings.HasPrefix(l.AccessToken.Reveal(), "test_access_token"):
			f.skip(entry, "it is one of the plugin's demo accounts")
		default:
			f.take(l, item{list, i})
		}
	}
	return nil
}

// points registers a member that is an index into list, and returns its value; -1: it has
// none.
func (f *File) points(name string, list *node) int {
	return f.pointsFrom(f.root.get(name), list)
}

func (f *File) pointsFrom(number, list *node) int {
	v, ok := number.number()
	if !ok || v < 0 || v >= float64(len(list.elements)) || v != float64(int(v)) {
		return -1
	}
	f.pointers = append(f.pointers, pointer{number, list})
	return int(v)
}

// nameOf tells a person which account of a list it is.
func nameOf(i int, label string) string {
	if label == "" {
		return "accounts[" + strconv.Itoa(i) + "]"
	}
	return label
}
