package pipe

import (
	"time"

	"github.com/authferry/authferry/broker/fault"
)

// The commands, with a Request and a Result for each. Results are also the documents that
// authferry prints, so that they have no secrets; a ticket is the exception.
const (
	Start   = "start"
	Invite  = "invite"
	Join    = "join"
	Leave   = "leave"
	Members = "members"
	Remove  = "remove"
	Recover = "recover"
	Status  = "status"
	Doctor  = "doctor"
	Enter   = "enter"
	TakeOut = "take-out"
	Serve   = "serve"
	Limits  = "limits"
	Clear   = "clear-holds"
	Set     = "set"
)

// StartRequest shares a pool of this machine; or, if it is shared already, says how this
// machine reaches its engine now, where Credentials that are empty stay.
type StartRequest struct {
	Pool      string   `json:"pool"`              // its name here
	Machine   string   `json:"machine,omitempty"` // this machine's name; empty: its host name
	Prefix    string   `json:"prefix,omitempty"`  // of the engine's keys; empty: "authferry"
	Endpoints []string `json:"endpoints"`
	Credentials
}

// Credentials are what a machine shows to the engine, in PEM. Empty where the engine is on
// loopback and asks for none.
type Credentials struct {
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
}

// StartResult is the pool as it is shared now.
type StartResult struct {
	Pool Pool `json:"pool"`
	// Changed: it was shared already, and this machine reaches its engine in another way now.
	Changed bool `json:"changed,omitempty"`
}

// InviteRequest makes a ticket for one machine. Its certificate and key go into the ticket.
type InviteRequest struct {
	Pool     string        `json:"pool"`
	Cert     string        `json:"cert,omitempty"` // PEM
	Key      string        `json:"key,omitempty"`
	Consumer bool          `json:"consumer,omitempty"` // access tokens only
	Passing  bool          `json:"passing,omitempty"`  // the machine may vanish at any time
	Reusable bool          `json:"reusable,omitempty"` // any number of machines may use it
	WithKeys bool          `json:"with_keys,omitempty"`
	For      time.Duration `json:"for"` // how long the ticket can be used
}

// InviteResult has the ticket, which is a secret on one line.
type InviteResult struct {
	Ticket    string    `json:"ticket"`
	ID        string    `json:"id"`
	ExpiresAt time.Time `json:"expires_at"`
}

// JoinRequest uses a ticket.
type JoinRequest struct {
	Ticket  string `json:"ticket"`
	As      string `json:"as,omitempty"`      // the pool's name here; empty: the one that it has
	Machine string `json:"machine,omitempty"` // this machine's name; empty: its host name
}

// JoinResult is the pool as this machine has it now.
type JoinResult struct {
	Pool Pool `json:"pool"`
}

// PoolRequest names a pool of this machine: for Leave, Members, Enter, Status, Serve and
// Limits, where it is its id. For Status and Serve, an empty one means all.
type PoolRequest struct {
	Pool string `json:"pool,omitempty"`
}

// EnterResult says which accounts of this machine the others have now.
type EnterResult struct {
	Pool    string    `json:"pool"`
	Entered []Account `json:"entered"`
}

// TakeOutRequest takes an account out of its shared pool, for all machines but this one.
type TakeOutRequest struct {
	Account string `json:"account"`
}

// TakeOutResult is what is this machine's own again.
type TakeOutResult struct {
	Pool    string  `json:"pool"`
	Account Account `json:"account"`
}

// LeaveResult says what this machine is out of.
type LeaveResult struct {
	Pool    string `json:"pool"`
	ID      string `json:"id"`
	Machine string `json:"machine"`
	// Removed are the labels of the accounts that are no longer here.
	Removed []string `json:"removed"`
	// Kept are those of the accounts that are this machine's own now.
	Kept    []string `json:"kept"`
	Warning string   `json:"warning,omitempty"` // what could not be done
	// Listed: a machine that holds the logins has to remove this one from the pool's list.
	Listed bool `json:"listed,omitempty"`
	// Revoke are the engine's own commands, which end the machine's access to it.
	Revoke []string `json:"revoke,omitempty"`
}

// MembersResult is who shares a pool.
type MembersResult struct {
	Pool     string    `json:"pool"`
	Machines []Machine `json:"machines"`
	Tickets  []Ticket  `json:"tickets"` // that can still be used
}

// Machine is a member.
type Machine struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Role     string    `json:"role"`                // holder: it has the refresh tokens; consumer: access tokens only
	Passing  bool      `json:"passing,omitempty"`   // it may vanish at any time
	WithKeys bool      `json:"with_keys,omitempty"` // a consumer that also gets API keys and long-lived tokens
	JoinedAt time.Time `json:"joined_at,omitzero"`
	Self     bool      `json:"self,omitempty"` // this machine
}

// Ticket is an invitation.
type Ticket struct {
	ID        string    `json:"id"`
	Role      string    `json:"role"`
	Passing   bool      `json:"passing,omitempty"`
	WithKeys  bool      `json:"with_keys,omitempty"`
	Reusable  bool      `json:"reusable,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// RemoveRequest takes a machine out of a pool, or withdraws a ticket.
type RemoveRequest struct {
	Pool    string `json:"pool"`
	Machine string `json:"machine"` // its name or id; or the id of a ticket
}

// RemoveResult says what that machine still knows.
type RemoveResult struct {
	Machine string    `json:"machine"`
	Rotated []Account `json:"rotated"` // their refresh tokens that it had are spent
	// Pending are accounts whose refresh tokens it still has: they could not be refreshed
	// now.
	Pending []Account `json:"pending"`
	// Replace are accounts whose API key or long-lived token it has read. Only the provider
	// can end those.
	Replace []Account `json:"replace"`
	// Revoke are the engine's own commands, which end the machine's access to it.
	Revoke []string `json:"revoke,omitempty"`
}

// Account is one of a shared pool.
type Account struct {
	ID       string `json:"id"`
	Label    string `json:"label"`
	Provider string `json:"provider"`
	Reason   string `json:"reason,omitempty"` // why it is Pending, or has to be replaced
}

// RecoverRequest lets another machine refresh an account although one that may have sent
// its refresh token never came back.
type RecoverRequest struct {
	Account string `json:"account"`
	// Claim is what a person has confirmed; empty: only say what there is to confirm.
	Claim string `json:"claim,omitempty"`
}

// RecoverResult says which machine is waited for.
type RecoverResult struct {
	Account   Account   `json:"account"`
	Machine   string    `json:"machine"`
	Since     time.Time `json:"since,omitzero"` // when this machine first saw that
	Claim     string    `json:"claim"`          // names what is to be confirmed
	Recovered bool      `json:"recovered"`      // the account is no longer waited for
}

// ClearRequest ends the holds of an account on all machines.
type ClearRequest struct {
	Account string `json:"account"`         // its id
	Scope   string `json:"scope,omitempty"` // empty: every one
}

// LimitsResult says that all machines can know now.
type LimitsResult struct{}

// SetRequest tells all machines what was set of an account here: one of the settings.
type SetRequest struct {
	Account string `json:"account"` // its id
	Setting string `json:"setting"`
}

// What can be set.
const (
	Label    = "label"
	Rank     = "rank" // of all accounts of the pool, by one of them
	Disabled = "disabled"
)

// SetResult says that all machines can know now.
type SetResult struct{}

// StatusResult is how shared pools are now, by asking the engine.
type StatusResult struct {
	Pools []Pool `json:"pools"`
}

// Pool is a shared pool.
type Pool struct {
	Pool     string    `json:"pool"` // its name here
	ID       string    `json:"id"`
	Machine  string    `json:"machine"` // this machine's name in it
	Role     string    `json:"role"`
	Passing  bool      `json:"passing,omitempty"`
	Engine   string    `json:"engine"`           // ok, unreachable, restored, or refused: this machine isn't let in any more
	Reason   string    `json:"reason,omitempty"` // why it isn't ok
	SeenAt   time.Time `json:"seen_at,omitzero"` // when the engine last answered
	Accounts []State   `json:"accounts"`
}

// State is an account and who is busy with it.
type State struct {
	Account
	State      string    `json:"state"`             // idle, claimed, sending, dead, waiting or alone
	Machine    string    `json:"machine,omitempty"` // that is refreshing it, or is waited for
	Since      time.Time `json:"since,omitzero"`
	Generation int       `json:"generation"` // the pool's, not this machine's
}

// DoctorRequest checks a pool, or all.
type DoctorRequest struct {
	Pool string `json:"pool,omitempty"`
	Fix  bool   `json:"fix,omitempty"`
}

// DoctorResult is what was found.
type DoctorResult struct {
	Checks []Check `json:"checks"`
}

// Check is one thing that was looked at.
type Check struct {
	Name    string         `json:"name"`
	Status  string         `json:"status"` // ok, warning or fail
	Message string         `json:"message"`
	Next    []fault.Remedy `json:"next,omitempty"`
}

// ServeEvent is what happens while Serve runs. Its result comes when it was stopped.
type ServeEvent struct {
	Event   string `json:"event"` // watching, adopted, refreshed, lost or back
	Pool    string `json:"pool"`
	Account string `json:"account,omitempty"` // its label
}
