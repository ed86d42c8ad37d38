package record

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// Grants is what the keystore has of an account's grants: the record with the highest
// generation, and its slot.
type Grants struct {
	Best *Grant
	Slot string
}

// MaxLead is how many generations the index may be ahead of the keystore, as it is when the
// keystore was restored from a backup. A higher number is not believed, because the next
// record would make it permanent.
const MaxLead = 1 << 10

// NextGeneration is the generation of the next record: above all that the keystore and the
// index have, and above every request whose answer may still be stored.
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

// IsOf reports whether the grant's owner is unknown or the one that the index has for a.
func (g *Grant) IsOf(a *index.Account) bool {
	return g.Owner.Subject == "" || g.Owner == oauth.Identity{Issuer: a.Issuer, Subject: a.Subject, Organization: a.Organization}
}

// rememberSpent is how many spent refresh tokens of an account are remembered.
const rememberSpent = 16

// ToldBy reports whether the machines that share g's account have g by now: theirs is the
// same, or was made of it. theirs is what they have in common. If that can't be told any
// more, they have.
func (g *Grant) ToldBy(theirs *Grant) bool {
	fp := cmp.Or(g.Fingerprint(), g.TokenFingerprint)
	return fp == "" || fp == cmp.Or(theirs.Fingerprint(), theirs.TokenFingerprint) || slices.Contains(theirs.Spent, fp) || theirs.PoolGeneration >= g.PoolGeneration+rememberSpent
}

// AddSpent adds the fingerprint of a spent refresh token, and forgets the oldest.
func AddSpent(spent []string, fp string) []string {
	spent = append(slices.Clone(spent), fp)
	return spent[max(0, len(spent)-rememberSpent):]
}

// Follow records in g which refresh token it replaces.
func (g *Grant) Follow(old *Grant) {
	g.Spent = old.Spent
	if fp := old.Fingerprint(); fp != "" && fp != g.Fingerprint() {
		g.Spent = AddSpent(g.Spent, fp)
	}
}

// RecordVersion is the v of every record written by this version.
const RecordVersion = 1

// Grant is the keystore record from which access tokens are made: the refresh token (or API
// key) with everything that decides where it may be sent. Only what is in here is used for
// that, whatever index.json or providers.toml say.
type Grant struct {
	Account      string          `json:"account"`
	Generation   int             `json:"generation"`
	Provider     string          `json:"provider"`
	RefreshToken keystore.Secret `json:"-"` // empty: there is only the access token
	APIKey       keystore.Secret `json:"-"`
	Proof        oauth.Proof     `json:"-"` // of a client that gets its tokens itself
	// TokenFingerprint is that of the access token if it is a long-lived one, which has no
	// refresh token; else empty.
	TokenFingerprint string         `json:"token_fingerprint,omitempty"`
	Endpoint         oauth.Endpoint `json:"endpoint"`                // without the client secret, which has an item of its own
	ClientSecret     bool           `json:"client_secret,omitempty"` // the client has one
	Scopes           []string       `json:"scopes,omitempty"`
	Headers          []string       `json:"headers"` // templates, copied into every access record
	Origins          []string       `json:"origins"` // likewise
	API              oauth.API      `json:"api,omitzero"`
	Service          oauth.Service  `json:"service,omitzero"` // the only remote MCP server that it is for
	// RefreshExpiresAt is when the provider ends the login; zero: unknown.
	RefreshExpiresAt time.Time      `json:"refresh_expires_at,omitzero"`
	Owner            oauth.Identity `json:"-"` // whose login it is, without the name; empty: unknown
	// Salvaged: the refresh token was found in a malformed answer. If it is refused, the
	// one before it is tried once more.
	Salvaged bool `json:"salvaged,omitempty"`
	// Spent has the fingerprints of earlier refresh tokens, the newest last.
	Spent []string `json:"spent,omitempty"`
	// Share is the id of the pool that several machines share; empty: the account isn't
	// shared. PoolGeneration is that pool's; Generation counts in this folder only.
	Share          string `json:"share,omitempty"`
	PoolGeneration int    `json:"pool_generation,omitempty"`
	// Login: a person has logged in again in this folder, and the other machines may not have
	// that yet. It isn't made of the grant before it, so it replaces whatever they have.
	Login bool `json:"login,omitempty"`
	// Mark is the fingerprint of the refresh token that this machine isn't given; empty: it
	// has all that there is.
	Mark string `json:"mark,omitempty"`
}

// grantWire is a Grant as it is stored.
type grantWire struct {
	V int `json:"v"`
	Grant
	RefreshToken string     `json:"refresh_token,omitempty"`
	APIKey       string     `json:"api_key,omitempty"`
	Proof        *proofWire `json:"proof,omitempty"`
	Issuer       string     `json:"issuer,omitempty"`
	Subject      string     `json:"subject,omitempty"`
	Organization string     `json:"organization,omitempty"`
}

type proofWire struct {
	Secret    string   `json:"secret,omitempty"`
	Key       string   `json:"key,omitempty"`
	KeyID     string   `json:"key_id,omitempty"`
	Algorithm string   `json:"algorithm,omitempty"`
	Audience  string   `json:"audience,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
}

func newProofWire(p oauth.Proof) *proofWire {
	if p.Empty() {
		return nil
	}
	return &proofWire{p.Secret.Reveal(), p.Key.Reveal(), p.KeyID, p.Algorithm, p.Audience, p.Scopes}
}

func (w *proofWire) proof() oauth.Proof {
	if w == nil {
		return oauth.Proof{}
	}
	return oauth.Proof{Secret: keystore.NewSecret(w.Secret), Key: keystore.NewSecret(w.Key), KeyID: w.KeyID, Algorithm: w.Algorithm, Audience: w.Audience, Scopes: w.Scopes}
}

// errNewerRecord: if such a record were skipped, the one before it would be used, whose
// refresh token is spent.
var errNewerRecord = errors.New("the record is of a newer authferry")

// errGeneration: no record could follow one with such a number.
var errGeneration = errors.New("the record has an impossible generation")

// Encode returns the record as it is stored.
func (g *Grant) Encode() (keystore.Secret, error) {
	return encodeRecord(grantWire{
		V: RecordVersion, Grant: *g, RefreshToken: g.RefreshToken.Reveal(), APIKey: g.APIKey.Reveal(), Proof: newProofWire(g.Proof),
		Issuer: g.Owner.Issuer, Subject: g.Owner.Subject, Organization: g.Owner.Organization,
	})
}

// DecodeGrant reads what Encode returned. Its errors never quote the input.
func DecodeGrant(s keystore.Secret) (*Grant, error) {
	var w grantWire
	if err := decodeRecord(s, &w); err != nil {
		return nil, err
	}
	if w.V > RecordVersion {
		return nil, errNewerRecord
	}
	if !index.ValidCount(w.Generation) || !index.ValidCount(w.PoolGeneration) {
		return nil, errGeneration
	}
	g := &w.Grant
	g.RefreshToken, g.APIKey, g.Proof = keystore.NewSecret(w.RefreshToken), keystore.NewSecret(w.APIKey), w.Proof.proof()
	g.Owner = oauth.Identity{Issuer: w.Issuer, Subject: w.Subject, Organization: w.Organization}
	return g, nil
}

// NeedsClient reports whether the secret of g's client is in a record of its own.
func (g *Grant) NeedsClient() bool {
	return g.ClientSecret || g.Service.Registration == oauth.RegistrationDynamic
}

// encodeRecord doesn't escape HTML, so that a person who looks into the keychain can read
// the token.
func encodeRecord(w any) (keystore.Secret, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(w); err != nil {
		return keystore.Secret{}, err
	}
	return keystore.NewSecret(string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))), nil
}

// decodeRecord hides the errors of json, which can quote the input.
func decodeRecord(s keystore.Secret, w any) error {
	if json.Unmarshal([]byte(s.Reveal()), w) != nil {
		return fmt.Errorf("not a record of authferry")
	}
	return nil
}

// Inherit copies from the grant before what a new answer may leave out. It keeps the
// refresh token only if that is proven to be the same login's: both sides know the identity
// and it is the same, as are token endpoint and client. That token keeps its own end and
// revocation endpoint; a new one inherits neither. A token known to be dead is not kept.
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

// Kind is the kind of the account: one of the index's constants.
func (g *Grant) Kind() string {
	switch {
	case !g.APIKey.Empty():
		return index.KindAPIKey
	case !g.Proof.Empty():
		return index.KindClient
	}
	return index.KindOAuth
}

// Secret is the API key, the client's proof or the refresh token; empty if there is none.
func (g *Grant) Secret() keystore.Secret {
	switch g.Kind() {
	case index.KindAPIKey:
		return g.APIKey
	case index.KindClient:
		return g.Proof.Grant()
	}
	return g.RefreshToken
}

// Fingerprint is that of the secret, also where another machine has it.
func (g *Grant) Fingerprint() string {
	if fp := Fingerprint(g.Secret()); fp != "" {
		return fp
	}
	return g.Mark
}
