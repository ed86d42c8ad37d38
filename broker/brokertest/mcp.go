package brokertest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// MCP makes the server the authorization server of remote MCP servers as well, which
// are at /mcp and at /at/NAME/mcp of the same host, each a resource of its own (RFC 9728).
type MCP struct {
	Scopes        []string // that the resource's metadata has
	CallScopes    []string // without which a tool can't be called
	Registrations Registrations
	// NoChallenge leaves out where the metadata is.
	NoChallenge bool
	// Metadata changes a resource's metadata, and Server the authorization server's,
	// before they are sent.
	Metadata, Server func(map[string]any)
}

const resourceMetadata = "/.well-known/oauth-protected-resource"

// mcpPath reports whether a path is an MCP server's.
func mcpPath(path string) bool {
	name, ok := strings.CutSuffix(strings.TrimPrefix(path, "/at"), "/mcp")
	return ok && strings.LastIndexByte(name, '/') <= 0
}

// protected is a resource's metadata.
func (s *Server) protected(r *request) answer {
	path := strings.TrimPrefix(r.URL.Path, resourceMetadata)
	if !mcpPath(path) {
		return reply(http.StatusNotFound, "", "")
	}
	doc := map[string]any{
		"resource": s.URL + path, "resource_name": "Test server", "authorization_servers": []string{s.URL}, "bearer_methods_supported": []string{"header"},
	}
	if len(r.cfg.MCP.Scopes) > 0 {
		doc["scopes_supported"] = r.cfg.MCP.Scopes
	}
	if change := r.cfg.MCP.Metadata; change != nil {
		change(doc)
	}
	return jsonReply(http.StatusOK, doc)
}

// mcp is an MCP server: it asks for a token of its own, and has one tool, "whoami".
func (s *Server) mcp(r *request) answer {
	now := s.now()
	var user, scope string
	ok := false
	if mcpPath(r.URL.Path) {
		s.books.change(func() {
			a := s.books.access[r.bearer()]
			if _, _, ok = s.books.live(now, r.bearer()); ok && a != nil && a.family.resource == s.URL+r.URL.Path {
				user, scope = a.family.user, a.family.scope
				s.books.api[user]++
				return
			}
			if ok = false; r.bearer() != "" {
				s.books.counts.Unauthorized++
			}
		})
	}
	if !ok {
		return s.challenge(r, http.StatusUnauthorized, "")
	}
	var call struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
		return reply(http.StatusBadRequest, "text/plain", "no JSON-RPC")
	}
	result := map[string]any{}
	switch call.Method {
	case "server/discover":
		result = map[string]any{"supportedVersions": []string{"2026-07-28"}, "capabilities": map[string]any{"tools": map[string]any{}}}
	case "initialize":
		result = map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{"tools": map[string]any{}}, "serverInfo": map[string]any{"name": "sim", "version": "1"}}
	case "tools/list":
		result = map[string]any{"tools": []any{map[string]any{"name": "whoami", "inputSchema": map[string]any{"type": "object"}}}}
	case "tools/call":
		for _, want := range r.cfg.MCP.CallScopes {
			if !slices.Contains(strings.Fields(scope), want) {
				return s.challenge(r, http.StatusForbidden, "insufficient_scope")
			}
		}
		result = map[string]any{"content": []any{map[string]any{"type": "text", "text": user}}}
	}
	if len(call.ID) == 0 {
		return reply(http.StatusAccepted, "", "")
	}
	return jsonReply(http.StatusOK, map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": result})
}

func (s *Server) challenge(r *request, status int, code string) answer {
	a := jsonReply(status, map[string]string{"error": "no"})
	field := `Bearer realm="sim"`
	if code != "" {
		field += `, error="` + code + `", scope="` + strings.Join(r.cfg.MCP.CallScopes, " ") + `"`
	}
	if !r.cfg.MCP.NoChallenge {
		field += `, resource_metadata="` + s.URL + resourceMetadata + r.URL.Path + `"`
	}
	a.header.Set("WWW-Authenticate", field)
	return a
}
