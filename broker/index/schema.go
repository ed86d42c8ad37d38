package index

import (
	"encoding/json"
	"time"
)

// Schema is the version of index.json that this program writes. A file with a
// higher one is refused with ErrTooNew and left untouched.
//
// Every type of the schema has a field Extra for what this version does not
// know. It is filled by Update and LastGood alone: reading stays cheap.
const Schema = 1

// MaxCount is more than anything here is ever counted to. One more is still a
// number on every system, so that nobody who edits the file makes it overflow.
const MaxCount = 1 << 30

// ValidCount reports that n can be a generation, or how often something happened.
func ValidCount(n int) bool { return n >= 0 && n <= MaxCount }

// Index is index.json: metadata only, a directory of what is in the keystore,
// never the truth about a grant and never a secret.
type Index struct {
	Schema   int                        `json:"schema"`
	Store    string                     `json:"store"`              // random id; first part of every item name
	Keystore string                     `json:"keystore"`           // keystore.Kind
	KeyFile  string                     `json:"key_file,omitempty"` // file keystore: path of its key file
	Path     string                     `json:"path"`               // the folder's resolved path, to notice a copy
	Accounts []Account                  `json:"accounts"`
	Pools    map[string]Pool            `json:"pools,omitempty"`
	Bindings []Binding                  `json:"bindings,omitempty"`
	Extra    map[string]json.RawMessage `json:"-"` // fields of a later version, kept
}

// Account is one account's metadata.
type Account struct {
	ID       string `json:"id"` // "acc_" + 16 lower-case base32 characters
	Label    string `json:"label"`
	Provider string `json:"provider"`
	Pool     string `json:"pool"`
	Kind     string `json:"kind"` // "oauth" or "api-key"
	Rank     int    `json:"rank"` // from 1, within its pool
	Disabled bool   `json:"disabled,omitempty"`
	Removing bool   `json:"removing,omitempty"` // tombstone: its secrets are being deleted
	Revoke   bool   `json:"revoke,omitempty"`   // the provider was to be told of that
	Shared   string `json:"shared,omitempty"`   // another program's file still has this login (import --keep)

	Identity     string `json:"identity,omitempty"` // for display only
	Issuer       string `json:"issuer,omitempty"`
	Subject      string `json:"subject,omitempty"`
	Organization string `json:"organization,omitempty"`

	// Resource is the remote MCP server that the login is for, Service its name for
	// itself, and Scopes what the login was asked for, so far; empty: it is no such one.
	Resource string   `json:"resource,omitempty"`
	Service  string   `json:"service,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`

	Generation int    `json:"generation"`
	GrantSlot  string `json:"grant_slot,omitempty"`  // "a" to "d"
	AccessSlot string `json:"access_slot,omitempty"` // "a" to "d"; empty: no access token
	// Fingerprint is the truncated hash of the stored refresh token or API key;
	// empty where the grant has none.
	Fingerprint string `json:"fingerprint,omitempty"`
	// TokenFingerprint is that of a long-lived token, which is all there is of such a
	// login; empty: the account is no such one.
	TokenFingerprint string `json:"token_fingerprint,omitempty"`

	// Spent are the fingerprints of the refresh tokens before, the newest last:
	// who imports one of them again would have it sent twice.
	Spent []string `json:"spent,omitempty"`

	ExpiresAt        time.Time `json:"expires_at,omitzero"`  // of the access token; zero: unknown
	ObtainedAt       time.Time `json:"obtained_at,omitzero"` // when it came in
	RefreshExpiresAt time.Time `json:"refresh_expires_at,omitzero"`
	AddedAt          time.Time `json:"added_at"`
	RefreshedAt      time.Time `json:"refreshed_at,omitzero"`

	Intents []Intent `json:"intents,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
	// Dead is the fingerprint of a refresh token that the provider refused for good, or
	// of a long-lived token that the API did; it says nothing once another one is stored.
	Dead string `json:"dead,omitempty"`
	// RejectedAt is when a refresh was last forced by "that token was refused".
	RejectedAt time.Time `json:"rejected_at,omitzero"`
	// RefusedGeneration is the generation whose access token the API refused; it
	// says nothing once the generation is another.
	RefusedGeneration int `json:"refused_generation,omitempty"`
	// ForcedAt is when a refresh was last sent for a person whatever the provider had
	// asked for.
	ForcedAt time.Time `json:"forced_at,omitzero"`

	Holds []Hold  `json:"holds,omitempty"`
	Usage []Usage `json:"usage,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Intent says that a refresh request may have reached the provider and its
// outcome is not stored yet. It is durable before the first byte is sent.
type Intent struct {
	Slot        string    `json:"slot"`        // the grant slot that the answer goes to
	Generation  int       `json:"generation"`  // the generation that the answer makes
	Fingerprint string    `json:"fingerprint"` // of the refresh token that is sent
	Attempt     int       `json:"attempt"`     // 1, or more for a recorded recovery
	PID         int       `json:"pid"`
	StartedAt   time.Time `json:"started_at"`
	// Process is ThisProcess of the one that waits for the answer; empty: nobody does
	// any more, or it is not known.
	Process string `json:"process,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Failure is why the last rotation did not succeed and when the next may try.
type Failure struct {
	Class     string    `json:"class"`
	Message   string    `json:"message,omitempty"` // no secret, no raw response
	Count     int       `json:"count"`
	NextTryAt time.Time `json:"next_try_at"`
	At        time.Time `json:"at,omitzero"`    // when it failed; zero: not recorded
	Since     time.Time `json:"since,omitzero"` // when the first of Count failed
	// Stated: NextTryAt is what the provider asked for, not a back-off of our own.
	Stated bool `json:"stated,omitempty"`
	// TokenOver: the rotator found the access token in the keystore and saw that
	// it is over, so that nobody needs to look again.
	TokenOver bool `json:"token_over,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Hold keeps an account out of selection until a moment; an expired one is
// ignored wherever it is read.
type Hold struct {
	Scope      string    `json:"scope"` // "*" is the whole account
	Until      time.Time `json:"until"`
	Source     string    `json:"source"`
	Proven     bool      `json:"proven"`
	Cut        bool      `json:"cut,omitempty"`
	ReportedAt time.Time `json:"reported_at"`
	Guesses    int       `json:"guesses,omitempty"`  // how often in a row the guess was made
	ProbedAt   time.Time `json:"probed_at,omitzero"` // when a caller was last let through in spite of it

	Extra map[string]json.RawMessage `json:"-"`
}

// Usage is one quota window as a provider last stated it.
type Usage struct {
	Window     string    `json:"window"`
	Used       float64   `json:"used"`
	ResetsAt   time.Time `json:"resets_at,omitzero"`
	ReportedAt time.Time `json:"reported_at"`
	// Moved: the pool moved on from the account within this window, or a person used it in
	// spite of that; the window moves the pool no more.
	Moved bool `json:"moved,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Pool is a named set of accounts of one provider.
type Pool struct {
	Provider string                     `json:"provider"`
	Current  string                     `json:"current,omitempty"` // account id
	Extra    map[string]json.RawMessage `json:"-"`
}

// Binding makes a directory use one account or pool for one provider. Account
// and Pool are exclusive.
type Binding struct {
	Dir      string                     `json:"dir"` // resolved path
	Provider string                     `json:"provider"`
	Account  string                     `json:"account,omitempty"`
	Pool     string                     `json:"pool,omitempty"`
	Extra    map[string]json.RawMessage `json:"-"`
}
