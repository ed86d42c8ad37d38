package main

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authferry/authferry/broker/brokertest"
)

// serveMCP is what `server mcp` does to the script's remote MCP server and its
// authorization server, or wants of them:
//
//	scopes [SCOPE…] | calls [SCOPE…]       in the resource's metadata; wanted of a call
//	longscope N                            a scope of N bytes in the resource's metadata
//	refuse | secret | answer NAME VALUE    a registration is refused, has a secret, or says that
//	resource URL | issuer URL | named      what the resource's metadata says; an odd, long name
//	says NAME [VALUE]                      what the authorization server's does; no VALUE: nothing
//	plain                                  as at the beginning
//	forget | expire USER                   every registered client; access tokens
//	registered N | deleted N               counts
//	call PATH FILE STATUS                  a tool, with the token in FILE
func serveMCP(ts *testscript.TestScript, s *brokertest.Server, args []string) {
	change := func(f func(m *brokertest.MCP)) {
		ts.Check(s.Configure(func(c *brokertest.Config) {
			m := *c.MCP
			f(&m)
			c.MCP = &m
		}))
	}
	metadata := func(name string, value any) {
		change(func(m *brokertest.MCP) { m.Metadata = func(doc map[string]any) { doc[name] = value } })
	}
	switch args[0] {
	case "scopes":
		change(func(m *brokertest.MCP) { m.Scopes = args[1:] })
	case "calls":
		change(func(m *brokertest.MCP) { m.CallScopes = args[1:] })
	case "longscope":
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		change(func(m *brokertest.MCP) { m.Scopes = []string{strings.Repeat("s", n)} })
	case "refuse":
		change(func(m *brokertest.MCP) { m.Registrations.Refuse = true })
	case "secret":
		change(func(m *brokertest.MCP) { m.Registrations.Secret = true })
	case "answer":
		change(func(m *brokertest.MCP) { m.Registrations.Answer = func(doc map[string]any) { doc[args[1]] = args[2] } })
	case "resource":
		metadata("resource", args[1])
	case "named":
		metadata("resource_name", "a\x1b]0;x\x07"+strings.Repeat("n", 300))
	case "issuer":
		metadata("authorization_servers", []string{args[1]})
	case "says":
		change(func(m *brokertest.MCP) {
			m.Server = func(doc map[string]any) {
				if delete(doc, args[1]); len(args) > 2 {
					doc[args[1]] = args[2]
				}
			}
		})
	case "plain":
		change(func(m *brokertest.MCP) { *m = brokertest.MCP{} })
	case "forget":
		s.Forget()
	case "expire":
		s.ExpireAccess(args[1])
	case "registered":
		want(ts, "registrations", s.Ledger().Registrations, args[1])
	case "deleted":
		want(ts, "deleted registrations", s.Ledger().Unregistrations, args[1])
	case "call":
		req, err := http.NewRequest(http.MethodPost, s.URL+args[1], strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`))
		ts.Check(err)
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(args[2])))
		res, err := s.Client().Do(req)
		ts.Check(err)
		_ = res.Body.Close()
		if strconv.Itoa(res.StatusCode) != args[3] {
			ts.Fatalf("%s answers the token in %s with %d, want %s", args[1], args[2], res.StatusCode, args[3])
		}
	default:
		ts.Fatalf("unknown: server mcp %s", args[0])
	}
}
