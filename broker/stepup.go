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

// stepUp is for a remote MCP server that refuses a call because the login was not asked
// for enough: only a new login can ask for more, a refresh can't. nil: that is not what
// the answer says, or the login was asked for all of it already, so that another one
// would end in the same way.
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
		return e // a server's text that a shell would have to be kept from
	}
	next := pool.Renewal(a)
	next.Name, next.Value = "scope", strings.Join(lacking, " ")
	return e.Try(next)
}

// odd reports what no scope of a plain name has.
func odd(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:/-", r)
}
