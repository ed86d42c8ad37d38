package broker

import (
	"net/http"
	"slices"
	"strings"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
)

// stepUp is for a remote MCP server that refuses a call because the login has too few
// scopes. Only a new login can ask for more; a refresh can't. Nil: the answer doesn't say
// that, or the login asked for all of these scopes already, so a new one would not help.
func stepUp(a *index.Account, r ReportRequest) *fault.Error {
	if a.Resource == "" || r.Status != http.StatusForbidden {
		return nil
	}
	header := http.Header{}
	for name, values := range r.Header {
		for _, v := range values {
			header.Add(name, v)
		}
	}
	c, ok := oauth.ParseChallenge(header)
	if !ok || c.Error != oauth.InsufficientScope {
		return nil
	}
	var lacking []string
	for _, s := range c.Scopes {
		if !slices.Contains(a.Scopes, s) {
			lacking = append(lacking, s)
		}
	}
	if len(lacking) == 0 || len(lacking) > account.MaxScopes {
		return nil
	}
	e := fault.Errorf(fault.InsufficientScope, "account %s needs a login with more scopes: %s asks for %d more", fault.Quote(a.Label), oauth.HostOf(a.Resource), len(lacking))
	if slices.ContainsFunc(lacking, func(s string) bool { return strings.ContainsFunc(s, odd) }) {
		return e // text from a server, which may contain characters that a shell acts on
	}
	next := pool.Renewal(a)
	next.Name, next.Value = "scope", strings.Join(lacking, " ")
	return e.Try(next)
}

// odd reports a character that no ordinary scope has.
func odd(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:/-", r)
}
