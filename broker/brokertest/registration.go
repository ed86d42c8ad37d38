package brokertest

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// Registrations is what the server does with clients that register themselves
// (RFC 7591) or name a document as their id.
type Registrations struct {
	Refuse    bool // every registration, with invalid_client_metadata
	Secret    bool // gives a secret, and wants it by HTTP Basic
	Documents bool // takes any https address as the id of a public client
	// Answer changes an answer before it is sent.
	Answer func(map[string]any)
}

// client is one that registered itself.
type client struct {
	id, secret, method string
	redirects          []string
	token              string // for deleting it (RFC 7592)
}

// register is the registration endpoint. A client may come back to the redirect URIs
// that it named and to no other port.
func (r *request) register() answer {
	var meta struct {
		RedirectURIs    []string `json:"redirect_uris"`
		ApplicationType string   `json:"application_type"`
		AuthMethod      string   `json:"token_endpoint_auth_method"`
		GrantTypes      []string `json:"grant_types"`
	}
	refuse := func(code string) answer { return jsonReply(http.StatusBadRequest, map[string]string{"error": code}) }
	switch {
	case r.cfg.MCP.Registrations.Refuse:
		return refuse("invalid_client_metadata")
	case json.NewDecoder(r.Body).Decode(&meta) != nil, r.Header.Get("Authorization") != "":
		return refuse("invalid_client_metadata")
	case meta.ApplicationType != "native", len(meta.RedirectURIs) == 0:
		return refuse("invalid_redirect_uri")
	case !slices.Contains(meta.GrantTypes, "refresh_token"):
		return refuse("invalid_client_metadata")
	}
	c := &client{id: token("client-"), method: "none", redirects: meta.RedirectURIs, token: token("afreg_")}
	out := map[string]any{
		"client_id": c.id, "redirect_uris": meta.RedirectURIs, "grant_types": meta.GrantTypes, "application_type": meta.ApplicationType,
		"registration_client_uri": r.server.URL + "/register/" + c.id, "registration_access_token": c.token,
	}
	if r.cfg.MCP.Registrations.Secret {
		c.secret, c.method = token("afcs_"), "client_secret_basic"
		out["client_secret"], out["client_secret_expires_at"] = c.secret, 0
	}
	out["token_endpoint_auth_method"] = c.method
	if change := r.cfg.MCP.Registrations.Answer; change != nil {
		change(out)
	}
	r.server.books.change(func() {
		r.server.books.counts.Registrations++
		r.server.books.clients[c.id] = c
	})
	return jsonReply(http.StatusCreated, out)
}

// unregister deletes a client (RFC 7592 §2.3).
func (r *request) unregister() answer {
	id := strings.TrimPrefix(r.URL.Path, "/register/")
	gone := false
	r.server.books.change(func() {
		if c := r.server.books.clients[id]; c != nil && subtle.ConstantTimeCompare([]byte(c.token), []byte(r.bearer())) == 1 {
			delete(r.server.books.clients, id)
			r.server.books.counts.Unregistrations++
			gone = true
		}
	})
	if !gone {
		return unauthorized()
	}
	return reply(http.StatusNoContent, "", "")
}

// Forget deletes every client that registered itself, as servers do with old ones.
func (s *Server) Forget() {
	s.books.change(func() { clear(s.books.clients) })
}

// clientOf is the client that an id names: the configured one, one that registered
// itself, or one whose id is a document's address.
func (s *Server) clientOf(cfg Config, id string) *client {
	if id == cfg.ClientID {
		return &client{id: id, secret: cfg.ClientSecret, method: cfg.ClientAuth}
	}
	if cfg.MCP.Registrations.Documents && strings.HasPrefix(id, "https://") {
		return &client{id: id, method: "none"}
	}
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	return s.books.clients[id]
}

// takes reports whether a login of c may end at uri.
func (c *client) takes(uri string) bool {
	return len(c.redirects) == 0 || slices.Contains(c.redirects, uri)
}

// target checks a request's resource indicator (RFC 8707). One that came with the
// authorization has to come again with each request for a token.
func (r *request) target(bound string) *refusal {
	got := r.params["resource"]
	if len(got) > 1 || len(got) == 1 && got[0] != bound || len(got) == 0 && bound != "" {
		return &refusal{status: http.StatusBadRequest, code: "invalid_target", text: "another resource than the login is for"}
	}
	return nil
}

// ExpireAccess ends every access token of user, and no refresh token.
func (s *Server) ExpireAccess(user string) {
	now := s.Now()
	s.books.change(func() {
		for _, t := range s.books.access {
			if t.family.user == user {
				t.expires = now
			}
		}
	})
}
