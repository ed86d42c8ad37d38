package broker

import (
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// What a login would have to ask for as well, and nothing where another one would end
// in the same way, or where the server's words are no plain scopes.
func TestStepUp(t *testing.T) {
	a := &index.Account{Label: "docs-1", Provider: "docs", Resource: "https://docs.example.com/mcp", Scopes: []string{"read"}}
	says := func(field string) map[string][]string { return map[string][]string{"wWw-authenticate": {field}} }
	for _, test := range []struct {
		name   string
		status int
		header map[string][]string
		scopes string
		none   bool
	}{
		{"more", 403, says(`Bearer error="insufficient_scope", scope="read write admin:all"`), "write admin:all", false},
		{"nothing new", 403, says(`Bearer error="insufficient_scope", scope="read"`), "", true},
		{"no scopes", 403, says(`Bearer error="insufficient_scope"`), "", true},
		{"another refusal", 403, says(`Bearer error="access_denied", scope="write"`), "", true},
		{"a 401", 401, says(`Bearer error="insufficient_scope", scope="write"`), "", true},
		{"no challenge", 403, nil, "", true},
		{"a command", 403, says(`Bearer error="insufficient_scope", scope="write;reboot"`), "", false},
		{"another command", 403, says(`Bearer error="insufficient_scope", scope="$(reboot)"`), "", false},
		{"too many", 403, says(`Bearer error="insufficient_scope", scope="` + strings.Join(strings.Split("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", ""), " ") + `"`), "", true},
	} {
		e := stepUp(a, ReportRequest{Status: test.status, Header: test.header})
		var next []fault.Remedy
		if test.scopes != "" {
			next = []fault.Remedy{{Do: fault.Login, Provider: "docs", Account: "docs-1", Name: "scope", Value: test.scopes}}
		}
		if (e == nil) != test.none || e != nil && !slices.Equal(e.Next, next) {
			t.Errorf("%s: %+v", test.name, e)
		}
	}
	plain := *a
	plain.Resource = ""
	if e := stepUp(&plain, ReportRequest{Status: 403, Header: says(`Bearer error="insufficient_scope", scope="write"`)}); e != nil {
		t.Errorf("an account of no MCP server: %v", e)
	}
}
