package index

import (
	"encoding/json"
	"time"
)

// Schema is the version of index.json that this program writes. A file with a higher one is
// refused with ErrTooNew and left as it is.
//
// Every type of the schema has a field Extra for fields that this version doesn't know.
// Only Update and LastGood fill it, so that reading stays cheap.
const Schema = 1

// MaxCount is more than anything here ever counts to. It is small enough that adding 1
// doesn't overflow on any system, even if a person edits the file.
const MaxCount = 1 << 30

// ValidCount reports whether n can be a generation or a number of events.
func ValidCount(n int) bool { return n >= 0 && n <= MaxCount }

// Index is index.json: metadata, a directory of what is in the keystore. It is never the
// truth about a grant, and never has a secret.
type Index struct {
	Schema   int                        `json:"schema"`
	Store    string                     `json:"store"`              // random id; the first part of the name of every item
	Keystore string                     `json:"keystore"`           // keystore.Kind
	KeyFile  string                     `json:"key_file,omitempty"` // path of the file keystore's key file
	Path     string                     `json:"path"`               // the folder's resolved path, by which a copy is noticed
	Accounts []Account                  `json:"accounts"`
	Pools    map[string]Pool            `json:"pools,omitempty"`
	Bindings []Binding                  `json:"bindings,omitempty"`
	Shares   []SharedPool               `json:"shares,omitempty"`
	Extra    map[string]json.RawMessage `json:"-"` // fields of a later version
}

// Account is one account's metadata.
type Account struct {
	ID       string `json:"id"` // "acc_" + 16 lower-case base32 characters
	Label    string `json:"label"`
	Provider string `json:"provider"`
	Pool     string `json:"pool"`
	Kind     string `json:"kind"` // "oauth", "api-key" or "client"
	Rank     int    `json:"rank"` // from 1, within its pool
	Disabled bool   `json:"disabled,omitempty"`
	Removing bool   `json:"removing,omitempty"` // its secrets are being deleted
	Revoke   bool   `json:"revoke,omitempty"`   // it was to be revoked at the provider
	Shared   string `json:"shared,omitempty"`   // another program's file still has this login (import --keep)

	Identity     string `json:"identity,omitempty"` // for display only
	Issuer       string `json:"issuer,omitempty"`
	Subject      string `json:"subject,omitempty"`
	Organization string `json:"organization,omitempty"`

	// Resource is the remote MCP server that the login is for, Service that server's name
	// for itself, Scopes what the login has asked for so far. Empty: the login is not for
	// one.
	Resource string   `json:"resource,omitempty"`
	Service  string   `json:"service,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`

	Generation int    `json:"generation"`
	GrantSlot  string `json:"grant_slot,omitempty"`  // "a" to "d"
	AccessSlot string `json:"access_slot,omitempty"` // "a" to "d"; empty: no access token
	// Fingerprint is the truncated hash of the stored refresh token or API key; empty if
	// the grant has neither.
	Fingerprint string `json:"fingerprint,omitempty"`
	// TokenFingerprint is that of a long-lived token, which has no refresh token; empty:
	// the account doesn't have one.
	TokenFingerprint string `json:"token_fingerprint,omitempty"`

	// Spent has the fingerprints of earlier refresh tokens, the newest last. If one of them
	// were imported again, it would be sent twice.
	Spent []string `json:"spent,omitempty"`

	ExpiresAt        time.Time `json:"expires_at,omitzero"`  // of the access token; zero: unknown
	ObtainedAt       time.Time `json:"obtained_at,omitzero"` // when it came in
	RefreshExpiresAt time.Time `json:"refresh_expires_at,omitzero"`
	AddedAt          time.Time `json:"added_at"`
	RefreshedAt      time.Time `json:"refreshed_at,omitzero"`

	Intents []Intent `json:"intents,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
	// Dead is the fingerprint of a refresh token that the provider refused for good, or of
	// a long-lived token that the API did. It is meaningless once another one is stored.
	Dead string `json:"dead,omitempty"`
	// RejectedAt is when a refused token last caused a refresh.
	RejectedAt time.Time `json:"rejected_at,omitzero"`
	// RefusedGeneration is the generation whose access token the API refused. It is
	// meaningless once the generation has changed.
	RefusedGeneration int `json:"refused_generation,omitempty"`
	// ForcedAt is when a person last forced a refresh although the provider had asked to
	// wait.
	ForcedAt time.Time `json:"forced_at,omitzero"`

	Holds []Hold  `json:"holds,omitempty"`
	Usage []Usage `json:"usage,omitempty"`

	Share *Share `json:"share,omitempty"` // nil: the account is this machine's alone

	Extra map[string]json.RawMessage `json:"-"`
}

// Intent says that a refresh request may have reached the provider and its outcome is not
// stored yet. It is durable before the first byte is sent.
type Intent struct {
	Slot        string    `json:"slot"`        // the grant slot for the answer
	Generation  int       `json:"generation"`  // the generation that the answer will have
	Fingerprint string    `json:"fingerprint"` // of the refresh token that is sent
	Attempt     int       `json:"attempt"`     // 1; more for a recorded recovery
	PID         int       `json:"pid"`
	StartedAt   time.Time `json:"started_at"`
	// Process is the ThisProcess of the process that waits for the answer; empty: none does
	// any more, or it is unknown.
	Process string `json:"process,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Failure says why the last rotation failed and when the next one may be tried.
type Failure struct {
	Class     string    `json:"class"`
	Message   string    `json:"message,omitempty"` // no secret, no raw response
	Count     int       `json:"count"`
	NextTryAt time.Time `json:"next_try_at"`
	At        time.Time `json:"at,omitzero"`    // when it failed; zero: not recorded
	Since     time.Time `json:"since,omitzero"` // when the first of Count failed
	// Stated: NextTryAt is what the provider asked for, not a back-off of our own.
	Stated bool `json:"stated,omitempty"`
	// TokenOver: the rotator has seen in the keystore that the access token has expired, so
	// that nobody else need look.
	TokenOver bool `json:"token_over,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Hold keeps an account from being used until a time. Once that has passed, it is ignored
// everywhere.
type Hold struct {
	Scope      string    `json:"scope"` // "*" is the whole account
	Until      time.Time `json:"until"`
	Source     string    `json:"source"`
	Proven     bool      `json:"proven"`
	Cut        bool      `json:"cut,omitempty"`
	ReportedAt time.Time `json:"reported_at"`
	Guesses    int       `json:"guesses,omitempty"`  // how many times in a row it was guessed
	ProbedAt   time.Time `json:"probed_at,omitzero"` // when a caller was last let through in spite of it
	// Told names the entry by which the machines that share the account know of this hold;
	// empty: they don't, or nobody shares it.
	Told string `json:"told,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Usage is one quota window as a provider last stated it.
type Usage struct {
	Window     string    `json:"window"`
	Used       float64   `json:"used"`
	ResetsAt   time.Time `json:"resets_at,omitzero"`
	ReportedAt time.Time `json:"reported_at"`
	// Moved: the pool moved on from the account because of this window, or a person used
	// the account in spite of that. The window doesn't move the pool again.
	Moved bool `json:"moved,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Pool is a named set of accounts of one provider.
type Pool struct {
	Provider string                     `json:"provider"`
	Current  string                     `json:"current,omitempty"` // account id
	Extra    map[string]json.RawMessage `json:"-"`
}

// Binding makes a directory use an account or a pool for one provider. Exactly one of
// Account and Pool is set.
type Binding struct {
	Dir      string                     `json:"dir"` // resolved path
	Provider string                     `json:"provider"`
	Account  string                     `json:"account,omitempty"`
	Pool     string                     `json:"pool,omitempty"`
	Extra    map[string]json.RawMessage `json:"-"`
}
