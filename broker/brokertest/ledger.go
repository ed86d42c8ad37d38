package brokertest

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Ledger is what happened on the server up to one instant.
type Ledger struct {
	Counts
	Families []Family       `json:"families"` // in the order of their logins
	Reuse    []Reuse        `json:"reuse"`    // every send of a spent refresh token
	Inflight map[string]int `json:"inflight"` // refresh requests right now, by user; 0 once all are done
	// MaxInflight is the most refresh requests at once, by user.
	MaxInflight map[string]int `json:"max_inflight"`
	API         map[string]int `json:"api"` // requests with a good bearer, by user
	// Verifiers are the PKCE verifiers that came (RFC 7636).
	Verifiers []string `json:"verifiers"`
}

// Counts are plain totals.
type Counts struct {
	TokenRequests  int `json:"token_requests"`  // that reached the token endpoint, faults included
	DeviceRequests int `json:"device_requests"` // device authorization requests
	Authorizations int `json:"authorizations"`  // requests for consent
	Revocations    int `json:"revocations"`     // RFC 7009 requests
	Userinfo       int `json:"userinfo"`        // userinfo requests
	Unauthorized   int `json:"unauthorized"`    // bearers refused by the API or userinfo
	Limited        int `json:"limited"`         // API requests over the quota
	Elsewhere      int `json:"elsewhere"`       // requests at OtherURL
	// Registrations and Unregistrations are the clients that were made and deleted.
	Registrations   int `json:"registrations"`
	Unregistrations int `json:"unregistrations"`
	// ElsewhereBytes is the length of the bodies that came to OtherURL.
	ElsewhereBytes int `json:"elsewhere_bytes"`
}

// Family is one login and everything that descends from it.
type Family struct {
	ID            int            `json:"id"`
	User          string         `json:"user"`
	Scope         string         `json:"scope"`
	IssuedAt      time.Time      `json:"issued_at"`
	RevokedAt     time.Time      `json:"revoked_at,omitzero"`
	Why           string         `json:"why,omitempty"` // it was revoked
	Refreshes     int            `json:"refreshes"`     // that were granted
	AccessTokens  int            `json:"access_tokens"` // ever issued
	RefreshTokens []RefreshToken `json:"refresh_tokens"`
}

// Revoked reports whether the login is over.
func (f Family) Revoked() bool { return !f.RevokedAt.IsZero() }

// RefreshToken is one refresh token's life.
type RefreshToken struct {
	Token    string    `json:"token"`
	IssuedAt time.Time `json:"issued_at"`
	SpentAt  time.Time `json:"spent_at,omitzero"`
	Usable   bool      `json:"usable"` // a refresh with it would succeed, grace aside
	Sends    []Send    `json:"sends"`
}

// Send is one arrival of a refresh token at the token endpoint.
type Send struct {
	At      time.Time `json:"at"`
	From    string    `json:"from"` // the client's address
	Outcome Outcome   `json:"outcome"`
}

// Outcome is what the server did with a refresh token that it received.
type Outcome string

// The outcomes of a Send.
const (
	Unprocessed   Outcome = "unprocessed"    // a fault, or a refused client, came first
	Rotated       Outcome = "rotated"        // spent, and a new one issued
	Renewed       Outcome = "renewed"        // an access token for it; it stays good
	Forgiven      Outcome = "forgiven"       // sent again within the grace
	Refused       Outcome = "refused"        // spent, expired or revoked
	RevokedFamily Outcome = "revoked-family" // sent again, and the login is over
)

// Reuse is one send of a refresh token that was spent before.
type Reuse struct {
	At       time.Time `json:"at"`
	User     string    `json:"user"`
	Family   int       `json:"family"`
	Token    string    `json:"token"`
	Forgiven bool      `json:"forgiven"` // by the grace
}

// Ledger returns a consistent snapshot.
func (s *Server) Ledger() Ledger {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	return s.books.snapshot(s.Now())
}

func (b *books) snapshot(now time.Time) Ledger {
	l := Ledger{
		Counts:      b.counts,
		Families:    make([]Family, 0, len(b.families)),
		Reuse:       append([]Reuse{}, b.reuse...),
		Inflight:    maps.Clone(b.inflight),
		MaxInflight: maps.Clone(b.maxInflight),
		API:         maps.Clone(b.api),
		Verifiers:   append([]string{}, b.verifiers...),
	}
	for _, f := range b.families {
		out := Family{
			ID: f.id, User: f.user, Scope: f.scope, IssuedAt: f.issued, RevokedAt: f.revoked, Why: f.why,
			Refreshes: f.renewals, AccessTokens: len(f.access),
		}
		for _, t := range f.refresh {
			r := RefreshToken{Token: t.value, IssuedAt: t.issued, SpentAt: t.spent, Usable: t.usable(now), Sends: []Send{}}
			for _, send := range t.sends {
				r.Sends = append(r.Sends, *send)
			}
			out.RefreshTokens = append(out.RefreshTokens, r)
		}
		l.Families = append(l.Families, out)
	}
	return l
}

// Of returns the families of one user.
func (l Ledger) Of(user string) []Family {
	return slices.DeleteFunc(slices.Clone(l.Families), func(f Family) bool { return f.User != user })
}

// Refreshes is how many refreshes were granted to user; empty: to everybody.
func (l Ledger) Refreshes(user string) int {
	n := 0
	for _, f := range l.Families {
		if user == "" || f.User == user {
			n += f.Refreshes
		}
	}
	return n
}

// Revoked is how many logins are over.
func (l Ledger) Revoked() int {
	n := 0
	for _, f := range l.Families {
		if f.Revoked() {
			n++
		}
	}
	return n
}

// MostSends is how often the refresh token that was sent most often was sent.
func (l Ledger) MostSends() int {
	most := 0
	for _, f := range l.Families {
		for _, t := range f.RefreshTokens {
			most = max(most, len(t.Sends))
		}
	}
	return most
}

// TokenRequests is how many requests reached the token endpoint.
func (s *Server) TokenRequests() int { return s.Ledger().TokenRequests }

// Refreshes is how many refreshes were granted to user; empty: to everybody.
func (s *Server) Refreshes(user string) int { return s.Ledger().Refreshes(user) }

// Reuse is how often a spent refresh token was sent, forgiven or not.
func (s *Server) Reuse() int { return len(s.Ledger().Reuse) }

// WaitFor returns nil as soon as holds is true of the ledger, or the context's
// error. Time that passes is no change: only requests are.
func (s *Server) WaitFor(ctx context.Context, holds func(Ledger) bool) error {
	for {
		s.books.mu.Lock()
		changed, l := s.books.changed, s.books.snapshot(s.Now())
		s.books.mu.Unlock()
		if holds(l) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
