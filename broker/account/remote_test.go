package account

import (
	"testing"
)

func TestRelated(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"https://mcp.example.com/mcp", "https://auth.example.com", true},
		{"https://mcp.example.com/mcp", "https://MCP.example.com:8443", true},
		{"https://mcp.example.co.uk", "https://id.example.co.uk", true},
		{"https://one.github.io", "https://two.github.io", false},
		{"https://a.co.uk", "https://b.co.uk", false},
		{"https://mcp.example.com", "https://example.com.evil.example", false},
		{"https://mcp.example.com", "https://accounts.example.org", false},
		{"http://127.0.0.1:1/mcp", "http://127.0.0.1:2", true},
		{"http://127.0.0.1:1/mcp", "http://127.0.0.2:1", false},
		{"http://127.0.0.1:1/mcp", "http://localhost:1", false},
		{"http://localhost:1/mcp", "http://localhost:2", true},
	} {
		if got := related(test.a, test.b); got != test.want {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}
