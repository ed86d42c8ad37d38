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
	// Handler answers whoever has a token for a server, in place of the server's one tool.
	Handler func(user string) http.Handler
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
func (r *request) protected() answer {
	path := strings.TrimPrefix(r.URL.Path, resourceMetadata)
	if !mcpPath(path) {
		return reply(http.StatusNotFound, "", "")
	}
	doc := map[string]any{
		"resource": r.server.URL + path, "resource_name": "Test server", "authorization_servers": []string{r.server.URL}, "bearer_methods_supported": []string{"header"},
	}
	if len(r.cfg.MCP.Scopes) > 0 {
		doc["scopes_supported"] = r.cfg.MCP.Scopes
	}
	if change := r.cfg.MCP.Metadata; change != nil {
		change(doc)
	}
	return jsonReply(http.StatusOK, doc)
}

// holder is whose token for the server at path it is, if it still is one.
func (s *Server) holder(path, bearer string) (user, scope string, ok bool) {
	now := s.Now()
	s.books.change(func() {
		a := s.books.access[bearer]
		if _, _, ok = s.books.live(now, bearer); ok && a != nil && a.family.resource == s.URL+path && mcpPath(path) {
			user, scope = a.family.user, a.family.scope
			s.books.api[user]++
			return
		}
		ok = false
	})
	return user, scope, ok
}

// remote is an MCP server: it asks for a token of its own, and has one tool, "whoami",
// or is what the configuration says.
func (s *Server) remote(w http.ResponseWriter, r *http.Request) {
	if m := s.config().MCP; m != nil && m.Handler != nil {
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if user, _, ok := s.holder(r.URL.Path, bearer); ok {
			m.Handler(user).ServeHTTP(w, r)
			return
		}
	}
	s.at(OnMCP, (*request).mcp).ServeHTTP(w, r)
}

func (r *request) mcp() answer {
	user, scope, ok := r.server.holder(r.URL.Path, r.bearer())
	switch {
	case !ok:
		if r.bearer() != "" {
			r.server.books.change(func() { r.server.books.counts.Unauthorized++ })
		}
		return r.challenge(http.StatusUnauthorized, "")
	case r.Method != http.MethodPost:
		return reply(http.StatusMethodNotAllowed, "", "")
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
				return r.challenge(http.StatusForbidden, "insufficient_scope")
			}
		}
		result = map[string]any{"content": []any{map[string]any{"type": "text", "text": user}}}
	}
	if len(call.ID) == 0 {
		return reply(http.StatusAccepted, "", "")
	}
	return jsonReply(http.StatusOK, map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": result})
}

func (r *request) challenge(status int, code string) answer {
	a := jsonReply(status, map[string]string{"error": "no"})
	field := `Bearer realm="sim"`
	if code != "" {
		field += `, error="` + code + `", scope="` + strings.Join(r.cfg.MCP.CallScopes, " ") + `"`
	}
	if !r.cfg.MCP.NoChallenge {
		field += `, resource_metadata="` + r.server.URL + resourceMetadata + r.URL.Path + `"`
	}
	a.header.Set("WWW-Authenticate", field)
	return a
}
