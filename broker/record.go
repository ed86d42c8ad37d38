package broker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// recordVersion is the v of every record written here.
const recordVersion = 1

// grant is the keystore record that makes new access tokens: the refresh token
// (or the API key) together with everything that decides where it may be sent.
// What stands here is used and nothing else, whatever index.json or
// providers.toml say.
type grant struct {
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
	// RefreshExpiresAt is when the provider ends the login; zero: unknown.
	RefreshExpiresAt time.Time
	Owner            oauth.Identity // whose login it is, without the name; empty: nobody said
	// Salvaged: the refresh token was found in an answer that was not a plain one. If
	// it is refused, the one before it has another try.
	Salvaged bool
	// Spent are the fingerprints of the refresh tokens before, the newest last.
	Spent []string
}

// access is the keystore record that the hot path reads: one access token and
// where it may go.
type access struct {
	Account     string
	Generation  int
	AccessToken keystore.Secret
	TokenType   string
	ExpiresAt   time.Time // zero: unknown, served until rejected
	ObtainedAt  time.Time
	Imported    bool      // authferry did not see its issue, so its lifetime is not known
	Boot        bootStamp // when it was obtained, by a clock that nobody sets
	Headers     []string
	Origins     []string
	API         oauth.API // without Paths in a record from before there was a proxy
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
	RefreshExpiresAt time.Time      `json:"refresh_expires_at,omitzero"`
	Issuer           string         `json:"issuer,omitempty"`
	Subject          string         `json:"subject,omitempty"`
	Organization     string         `json:"organization,omitempty"`
	Salvaged         bool           `json:"salvaged,omitempty"`
	Spent            []string       `json:"spent,omitempty"`
}

type accessWire struct {
	V           int       `json:"v"`
	Account     string    `json:"account"`
	Generation  int       `json:"generation"`
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	ObtainedAt  time.Time `json:"obtained_at"`
	Imported    bool      `json:"imported,omitempty"`
	Boot        bootStamp `json:"boot,omitzero"`
	Headers     []string  `json:"headers"`
	Origins     []string  `json:"origins"`
	API         oauth.API `json:"api,omitzero"`
}

// errNewerRecord: skipping such a record would bring the one before it back,
// with a refresh token that is spent.
var errNewerRecord = errors.New("the record is of a newer authferry")

// errGeneration: nothing could come after such a record, no new login either.
var errGeneration = errors.New("the record has an impossible generation")

func (g *grant) encode() (keystore.Secret, error) {
	return encodeRecord(grantWire{
		V: recordVersion, Account: g.Account, Generation: g.Generation, Provider: g.Provider,
		RefreshToken: g.RefreshToken.Reveal(), APIKey: g.APIKey.Reveal(), TokenFingerprint: g.TokenFingerprint,
		Endpoint: g.Endpoint, ClientSecret: g.ClientSecret, Scopes: g.Scopes,
		Headers: g.Headers, Origins: g.Origins, API: g.API, RefreshExpiresAt: g.RefreshExpiresAt,
		Issuer: g.Owner.Issuer, Subject: g.Owner.Subject, Organization: g.Owner.Organization,
		Salvaged: g.Salvaged, Spent: g.Spent,
	})
}

func decodeGrant(s keystore.Secret) (*grant, error) {
	var w grantWire
	if err := decodeRecord(s, &w); err != nil {
		return nil, err
	}
	if w.V > recordVersion {
		return nil, errNewerRecord
	}
	if !index.ValidCount(w.Generation) {
		return nil, errGeneration
	}
	return &grant{
		Account: w.Account, Generation: w.Generation, Provider: w.Provider,
		RefreshToken: keystore.NewSecret(w.RefreshToken), APIKey: keystore.NewSecret(w.APIKey), TokenFingerprint: w.TokenFingerprint,
		Endpoint: w.Endpoint, ClientSecret: w.ClientSecret, Scopes: w.Scopes,
		Headers: w.Headers, Origins: w.Origins, API: w.API, RefreshExpiresAt: w.RefreshExpiresAt,
		Owner:    oauth.Identity{Issuer: w.Issuer, Subject: w.Subject, Organization: w.Organization},
		Salvaged: w.Salvaged, Spent: w.Spent,
	}, nil
}

func (acc *access) encode() (keystore.Secret, error) {
	return encodeRecord(accessWire{
		V: recordVersion, Account: acc.Account, Generation: acc.Generation,
		AccessToken: acc.AccessToken.Reveal(), TokenType: acc.TokenType,
		ExpiresAt: acc.ExpiresAt, ObtainedAt: acc.ObtainedAt, Imported: acc.Imported, Boot: acc.Boot,
		Headers: acc.Headers, Origins: acc.Origins, API: acc.API,
	})
}

func decodeAccess(s keystore.Secret) (*access, error) {
	var w accessWire
	if err := decodeRecord(s, &w); err != nil {
		return nil, err
	}
	if w.V != recordVersion || w.AccessToken == "" {
		return nil, fmt.Errorf("not an access record of version %d", recordVersion)
	}
	if !index.ValidCount(w.Generation) {
		return nil, errGeneration
	}
	return &access{
		Account: w.Account, Generation: w.Generation,
		AccessToken: keystore.NewSecret(w.AccessToken), TokenType: w.TokenType,
		ExpiresAt: w.ExpiresAt, ObtainedAt: w.ObtainedAt, Imported: w.Imported, Boot: w.Boot,
		Headers: w.Headers, Origins: w.Origins, API: w.API,
	}, nil
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

// fingerprint names a refresh token or API key without giving it away: 64 bits
// of a hash, enough to tell two apart.
func fingerprint(token keystore.Secret) string {
	if token.Empty() {
		return ""
	}
	sum := sha256.Sum256([]byte("authferry fingerprint\x00" + token.Reveal()))
	return hex.EncodeToString(sum[:8])
}

// Item names. Every one starts with the store id, so that two folders never
// share an item.
func grantItem(idx *index.Index, account, slot string) string {
	return idx.Store + "/" + account + "/grant:" + slot
}

func accessItem(idx *index.Index, account, slot string) string {
	return idx.Store + "/" + account + "/access:" + slot
}

func probeItem(idx *index.Index, account string) string {
	return idx.Store + "/" + account + "/probe"
}

// clientItem is by endpoint and client, not by provider: an account keeps the
// client that it was logged in with when the provider's data changes.
func clientItem(idx *index.Index, e oauth.Endpoint) string {
	return idx.Store + "/client/" + clientKey(e)
}

// trialItem is what a person's command tries the keystore with.
func trialItem(idx *index.Index) string { return idx.Store + "/probe" }

func manifestItem(idx *index.Index) string { return idx.Store + "/manifest" }

var slots = []string{"a", "b", "c", "d"}
