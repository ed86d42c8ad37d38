package main

import (
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

// headers measures what Claude Code and Codex run for a remote MCP server, against a
// plain token, out of one folder.
func (b *bench) headers() (*table, error) {
	const secret = "bench-secret"
	server, err := brokertest.Start(brokertest.Config{ClientSecret: secret, AccessTTL: 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	env := []string{"AUTHFERRY_DIR=" + b.path("remote")}
	address := server.URL + "/mcp"
	if _, err := b.authferry(env, secret+"\n", "login", address, "--name", "docs", "--flow", "client", "--client-id", "authferry-sim", "--client-secret-stdin", "--label", "bench"); err != nil {
		return nil, err
	}
	t := &table{text: "A stored token, as JSON of headers and plain."}
	const asked, plain = "authferry helper mcp-headers", "authferry token, of that server"
	program := append(append([]string{"env"}, env...), b.path("authferry"))
	t.add(b.program(asked, "", append(program, "helper", "mcp-headers", "--account", "bench", address)...).against(plain))
	t.add(b.program(plain, "", append(program, "token", "--account", "bench")...))
	if err := b.alternate(t, 300, 12*time.Second); err != nil {
		return nil, err
	}
	t.goal("helper mcp-headers, of a token", "≤", 1.1, "×", t.ratio(asked, plain, wall))
	return t, nil
}
