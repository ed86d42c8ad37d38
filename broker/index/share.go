package index

import (
	"encoding/json"
	"strings"
	"time"
)

// SharedPool is a pool that this machine shares with others, as it last saw it. It is for
// display and for routing: where to connect, and what to believe, is in the keystore alone.
type SharedPool struct {
	ID      string    `json:"id"`      // "pool_" + 16 lower-case base32 characters
	Pool    string    `json:"pool"`    // its name on this machine
	Machine string    `json:"machine"` // this machine's own name in it
	Role    string    `json:"role"`    // RoleHolder or RoleConsumer
	Passing bool      `json:"passing,omitempty"`
	SeenAt  time.Time `json:"seen_at,omitzero"` // when the engine last answered
	// Engine is how the engine was at the last try: EngineOK to EngineRefused; empty: it
	// wasn't tried yet.
	Engine string `json:"engine,omitempty"`
	// Revision is the engine's highest that was seen. One that falls means that a backup
	// was restored.
	Revision int64 `json:"revision,omitempty"`
	// LookedAt is when the other machines were last asked for limits.
	LookedAt time.Time `json:"looked_at,omitzero"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Share is what this machine last saw of an account in its shared pool. It is for display
// and for routing; Sight and Claims may only make a machine wait longer, but for rule 12 of
// the protocol, which is bound to boot and host.
type Share struct {
	Pool       string    `json:"pool"`                 // the id of its SharedPool
	Role       string    `json:"role"`                 // this machine's, as in SharedPool
	State      string    `json:"state,omitempty"`      // ShareIdle to ShareDead; empty: not seen yet
	Machine    string    `json:"machine,omitempty"`    // the name of the machine that is refreshing it
	Since      time.Time `json:"since,omitzero"`       // when it was first seen in that state here
	SeenAt     time.Time `json:"seen_at,omitzero"`     // when the engine last showed it
	Generation int       `json:"generation,omitempty"` // the pool's, not this folder's
	Sight      *Sight    `json:"sight,omitempty"`      // of the newest claim of another process
	Claims     []Claim   `json:"claims,omitempty"`     // of this machine that aren't settled
	FailedAt   time.Time `json:"failed_at,omitzero"`   // when another machine failed, by its clock, if that is known here
	// Known: this machine has seen the account's newest access token alive, so its own
	// generation tells whether the engine has forgotten one.
	Known bool `json:"known,omitempty"`
	// Told is what the machines know of the account's limits; nil: this one hasn't asked yet.
	Told *Told `json:"told,omitempty"`
	// Settings are what all machines have; nil: this one hasn't looked yet. Here they may
	// have been changed since.
	Settings *Settings `json:"settings,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Settings are what people set of an account, and all machines that share it have.
type Settings struct {
	Change   string `json:"change,omitempty"` // names the newest change that this machine was told of
	Label    string `json:"label"`
	Rank     int    `json:"rank"`
	Disabled bool   `json:"disabled,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Sight is when this machine first saw a claim in a phase, by its own boot clock. How long
// a claim has stood still is counted from it.
type Sight struct {
	Nonce string        `json:"nonce"`
	Phase string        `json:"phase"` // ShareClaimed or ShareSending
	Boot  string        `json:"boot,omitempty"`
	At    time.Duration `json:"at,omitempty"`  // since that boot
	Wall  time.Time     `json:"wall,omitzero"` // for a system without a boot clock

	Extra map[string]json.RawMessage `json:"-"`
}

// Claim notes a claim that this machine made. It is durable before the claim goes out.
type Claim struct {
	Nonce     string `json:"nonce"`
	Announced bool   `json:"announced,omitempty"` // the request may have been sent
	Refused   bool   `json:"refused,omitempty"`   // the provider answered that the login has ended
	Boot      string `json:"boot,omitempty"`
	Host      string `json:"host,omitempty"`
	PID       int    `json:"pid,omitempty"`
	Process   string `json:"process,omitempty"` // as in Intent

	Extra map[string]json.RawMessage `json:"-"`
}

// Told is what all machines have been told of an account's limits, as this machine last saw
// it. Each entry has a name, so that nothing is taken over twice.
type Told struct {
	Version int64      `json:"version,omitempty"` // of the engine's value
	Holds   []ToldHold `json:"holds,omitempty"`
	Usage   string     `json:"usage,omitempty"`   // names the quota windows
	UsageAt time.Time  `json:"usage_at,omitzero"` // when they were first seen here
	Probe   string     `json:"probe,omitempty"`   // names the newest probe

	Extra map[string]json.RawMessage `json:"-"`
}

// ToldHold is a hold that all machines have been told of.
type ToldHold struct {
	ID    string    `json:"id"`    // as in Hold.Told
	Until time.Time `json:"until"` // what it meant for this machine, by its clock

	Extra map[string]json.RawMessage `json:"-"`
}

// What a machine is in a shared pool.
const (
	RoleHolder   = "holder"   // it has the refresh tokens
	RoleConsumer = "consumer" // it has access tokens only
)

// The states of an account in a shared pool.
const (
	ShareIdle    = "idle"
	ShareClaimed = "claimed" // a machine is about to refresh it; nothing was sent
	ShareSending = "sending" // that machine may have sent the refresh token
	ShareDead    = "dead"    // the provider refused the login for good
)

// How the engine of a shared pool was at the last try.
const (
	EngineOK          = "ok"
	EngineUnreachable = "unreachable"
	EngineRestored    = "restored" // from a backup: it had forgotten something
	EngineRefused     = "refused"  // it, or the pool, doesn't let this machine in any more
)

const sharedPrefix, machinePrefix, ticketPrefix = "pool_", "mach_", "tick_"

// NewSharedPoolID returns a new id of a shared pool: "pool_" and 80 random bits in 16
// lower-case base32 characters.
func NewSharedPoolID() string { return sharedPrefix + randomName() }

// NewMachineID is the same for a machine in a shared pool: "mach_" and 16 characters.
func NewMachineID() string { return machinePrefix + randomName() }

// NewTicketID is the same for a ticket: "tick_" and 16 characters.
func NewTicketID() string { return ticketPrefix + randomName() }

// ValidSharedPoolID reports whether s has the form of NewSharedPoolID's. Such a string is
// safe in the name of a keystore item and in a key of the engine.
func ValidSharedPoolID(s string) bool { return validID(s, sharedPrefix) }

// ValidMachineID is the same for NewMachineID.
func ValidMachineID(s string) bool { return validID(s, machinePrefix) }

// ValidTicketID is the same for NewTicketID.
func ValidTicketID(s string) bool { return validID(s, ticketPrefix) }

func validID(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	return ok && isRandomName(rest)
}

// SharedPool returns the shared pool with this id, which may be changed in place; nil if
// there is none.
func (ix *Index) SharedPool(id string) *SharedPool {
	for i := range ix.Shares {
		if ix.Shares[i].ID == id {
			return &ix.Shares[i]
		}
	}
	return nil
}

// SharedAs returns the shared pool that has this name here, likewise.
func (ix *Index) SharedAs(pool string) *SharedPool {
	for i := range ix.Shares {
		if ix.Shares[i].Pool == pool {
			return &ix.Shares[i]
		}
	}
	return nil
}

// fault returns what is wrong with p, or "".
func (p *SharedPool) fault() string {
	switch {
	case !ValidSharedPoolID(p.ID):
		return "has a malformed id"
	case !validName(p.Pool), !validName(p.Machine):
		return "or its machine has a malformed name"
	case !validRole(p.Role):
		return "has an unknown role"
	}
	return ""
}

func (s *Share) fault() string {
	switch {
	case !ValidSharedPoolID(s.Pool):
		return "is in a shared pool with a malformed id"
	case s.Machine != "" && !validName(s.Machine):
		return "is with a machine with a malformed name"
	case !validRole(s.Role):
		return "has an unknown role"
	case !ValidCount(s.Generation):
		return "has an impossible generation"
	}
	return ""
}

func validRole(s string) bool { return s == RoleHolder || s == RoleConsumer }
