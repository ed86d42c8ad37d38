package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// Grants is what the keystore has of an account: the record with the highest
// generation, and its slot.
type Grants struct {
	Best *Grant
	Slot string
}

// MaxLead is how many generations the index may be ahead of the keystore, as it
// is of one from a backup. What it says beyond that is not believed: it would
// become the truth in the next record.
const MaxLead = 1 << 10

// NextGeneration is that of the record to be written: above all that the
// keystore and the index have, and above every request whose answer may still be
// stored, late.
func NextGeneration(a *index.Account, stored *Grant) int {
	known := 0
	if stored != nil {
		known = stored.Generation
	}
	claimed := a.Generation
	for _, in := range a.Intents {
		claimed = max(claimed, in.Generation)
	}
	return max(known, min(claimed, known+MaxLead)) + 1
}

// IsOf reports that the index does not say of a that it is somebody else's.
func (g *Grant) IsOf(a *index.Account) bool {
	return g.Owner.Subject == "" || g.Owner == oauth.Identity{Issuer: a.Issuer, Subject: a.Subject, Organization: a.Organization}
}

// rememberSpent is how many spent refresh tokens an account is known by.
const rememberSpent = 16

// AddSpent adds a fingerprint to those of spent refresh tokens, and forgets the oldest.
func AddSpent(spent []string, fp string) []string {
	spent = append(slices.Clone(spent), fp)
	return spent[max(0, len(spent)-rememberSpent):]
}

// Follow notes in g which refresh token it takes the place of.
func (g *Grant) Follow(old *Grant) {
	g.Spent = old.Spent
	if fp := Fingerprint(old.Secret()); fp != "" && !g.Secret().Equal(old.Secret()) {
		g.Spent = AddSpent(g.Spent, fp)
	}
}

// RecordVersion is the v of every record written here.
const RecordVersion = 1

// Grant is the keystore record that makes new access tokens: the refresh token
// (or the API key) together with everything that decides where it may be sent.
// What stands here is used and nothing else, whatever index.json or
// providers.toml say.
type Grant struct {
	Account      string
	Generation   int
	Provider     string
	RefreshToken keystore.Secret // empty: the access token is all there is
	APIKey       keystore.Secret
	// TokenFingerprint is that of the access token where it is a long-lived one, and
	// all there is; empty: it is not.
	TokenFingerprint string
	Endpoint         oauth.Endpoint // without the client secret, which has its own item
	ClientSecret     bool           // the client has one
	Scopes           []string
	Headers          []string // templates, copied into every access record
	Origins          []string // likewise
	API              oauth.API
	Service          oauth.Service // the remote MCP server that it is for, and no other
	// RefreshExpiresAt is when the provider ends the login; zero: unknown.
	RefreshExpiresAt time.Time
	Owner            oauth.Identity // whose login it is, without the name; empty: nobody said
	// Salvaged: the refresh token was found in an answer that was not a plain one. If
	// it is refused, the one before it has another try.
	Salvaged bool
	// Spent are the fingerprints of the refresh tokens before, the newest last.
	Spent []string
}

type grantWire struct {
	V                int            `json:"v"`
	Account          string         `json:"account"`
	Generation       int            `json:"generation"`
	Provider         string         `json:"provider"`
	RefreshToken     string         `json:"refresh_token,omitempty"`
	APIKey           string         `json:"api_key,omitempty"`
	TokenFingerprint string         `json:"token_fingerprint,omitempty"`
	Endpoint         oauth.Endpoint `json:"endpoint"`
	ClientSecret     bool           `json:"client_secret,omitempty"`
	Scopes           []string       `json:"scopes,omitempty"`
	Headers          []string       `json:"headers"`
	Origins          []string       `json:"origins"`
	API              oauth.API      `json:"api,omitzero"`
	Service          oauth.Service  `json:"service,omitzero"`
	RefreshExpiresAt time.Time      `json:"refresh_expires_at,omitzero"`
	Issuer           string         `json:"issuer,omitempty"`
	Subject          string         `json:"subject,omitempty"`
	Organization     string         `json:"organization,omitempty"`
	Salvaged         bool           `json:"salvaged,omitempty"`
	Spent            []string       `json:"spent,omitempty"`
}

// errNewerRecord: skipping such a record would bring the one before it back,
// with a refresh token that is spent.
var errNewerRecord = errors.New("the record is of a newer authferry")

// errGeneration: nothing could come after such a record, no new login either.
var errGeneration = errors.New("the record has an impossible generation")

// Encode returns the record as it is stored.
func (g *Grant) Encode() (keystore.Secret, error) {
	return encodeRecord(grantWire{
		V: RecordVersion, Account: g.Account, Generation: g.Generation, Provider: g.Provider,
		RefreshToken: g.RefreshToken.Reveal(), APIKey: g.APIKey.Reveal(), TokenFingerprint: g.TokenFingerprint,
		Endpoint: g.Endpoint, ClientSecret: g.ClientSecret, Scopes: g.Scopes,
		Headers: g.Headers, Origins: g.Origins, API: g.API, Service: g.Service, RefreshExpiresAt: g.RefreshExpiresAt,
		Issuer: g.Owner.Issuer, Subject: g.Owner.Subject, Organization: g.Owner.Organization,
		Salvaged: g.Salvaged, Spent: g.Spent,
	})
}

// decodeGrant reads what Encode returned. No error quotes it.
func decodeGrant(s keystore.Secret) (*Grant, error) {
	var w grantWire
	if err := decodeRecord(s, &w); err != nil {
		return nil, err
	}
	if w.V > RecordVersion {
		return nil, errNewerRecord
	}
	if !index.ValidCount(w.Generation) {
		return nil, errGeneration
	}
	return &Grant{
		Account: w.Account, Generation: w.Generation, Provider: w.Provider,
		RefreshToken: keystore.NewSecret(w.RefreshToken), APIKey: keystore.NewSecret(w.APIKey), TokenFingerprint: w.TokenFingerprint,
		Endpoint: w.Endpoint, ClientSecret: w.ClientSecret, Scopes: w.Scopes,
		Headers: w.Headers, Origins: w.Origins, API: w.API, Service: w.Service, RefreshExpiresAt: w.RefreshExpiresAt,
		Owner:    oauth.Identity{Issuer: w.Issuer, Subject: w.Subject, Organization: w.Organization},
		Salvaged: w.Salvaged, Spent: w.Spent,
	}, nil
}

// NeedsClient reports that g's client has a record of its own.
func (g *Grant) NeedsClient() bool {
	return g.ClientSecret || g.Service.Registration == oauth.RegistrationDynamic
}

// encodeRecord keeps the token readable to a person who looks into the
// keychain: no HTML escapes.
func encodeRecord(w any) (keystore.Secret, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(w); err != nil {
		return keystore.Secret{}, err
	}
	return keystore.NewSecret(string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))), nil
}

// decodeRecord hides json's error: it can quote the input.
func decodeRecord(s keystore.Secret, w any) error {
	if json.Unmarshal([]byte(s.Reveal()), w) != nil {
		return fmt.Errorf("not a record of authferry")
	}
	return nil
}

// Inherit keeps of the grant before what a new answer may leave out. A refresh token
// stays only where it is proven to be the same login's: of the same identity, which
// both sides know, at the same token endpoint, for the same client. It keeps its own
// end and its own revocation endpoint. A new one has nothing of them, and one that is
// known to be dead is given up.
func (g *Grant) Inherit(old *Grant, dead string) {
	same := g.Owner.Subject != "" && g.Owner == old.Owner &&
		g.Endpoint.TokenEndpoint == old.Endpoint.TokenEndpoint && g.Endpoint.ClientID == old.Endpoint.ClientID
	if g.Secret().Empty() && same && Fingerprint(old.RefreshToken) != dead {
		g.RefreshToken, g.Endpoint.RevocationEndpoint = old.RefreshToken, old.Endpoint.RevocationEndpoint
	}
	if !g.RefreshToken.Empty() && g.RefreshToken.Equal(old.RefreshToken) && g.RefreshExpiresAt.IsZero() {
		g.RefreshExpiresAt = old.RefreshExpiresAt
	}
	if len(g.Scopes) == 0 && g.Kind() == index.KindOAuth {
		g.Scopes = old.Scopes
	}
	if g.Owner.Subject == "" {
		g.Owner = old.Owner
	}
}

// Kind is that of the account: index.KindOAuth or index.KindAPIKey.
func (g *Grant) Kind() string {
	if g.APIKey.Empty() {
		return index.KindOAuth
	}
	return index.KindAPIKey
}

// Secret is what the grant is made of.
func (g *Grant) Secret() keystore.Secret {
	if !g.APIKey.Empty() {
		return g.APIKey
	}
	return g.RefreshToken
}
