package pool

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/humantime"
)

// AccountView is an account as list, info and status show it, without secrets.
type AccountView struct {
	ID         string    `json:"id"`    // acc_ and 16 characters; never changes
	Label      string    `json:"label"` // unique within the provider; a person may change it
	Provider   string    `json:"provider"`
	Pool       string    `json:"pool"`
	Kind       string    `json:"kind"`               // oauth, api-key or client
	Identity   string    `json:"identity,omitempty"` // whose login it is; to be shown, not compared
	Resource   string    `json:"resource,omitempty"` // the remote MCP server that the login is for
	Service    string    `json:"service,omitempty"`  // that server's name for itself
	Scopes     []string  `json:"scopes,omitempty"`   // that such a login asked for
	State      State     `json:"state"`
	Current    bool      `json:"current"`             // its pool uses it now
	Rank       int       `json:"rank"`                // its place in the pool, from 1
	Generation int       `json:"generation"`          // how often its login was rotated, and 1
	ExpiresAt  time.Time `json:"expires_at,omitzero"` // of the access token; absent where that is unknown
	// NoRefresh: there is no refresh token, so the login ends with its access token.
	NoRefresh        bool      `json:"no_refresh,omitempty"`
	RefreshExpiresAt time.Time `json:"refresh_expires_at,omitzero"` // when the login ends, if the provider says
	AddedAt          time.Time `json:"added_at"`
	RefreshedAt      time.Time `json:"refreshed_at,omitzero"`
	// Backoff: set while the next refresh has to wait because the last one failed.
	Backoff *BackoffView `json:"backoff,omitempty"`
	Holds   []HoldView   `json:"holds,omitempty"` // that are not over
	Usage   []UsageView  `json:"usage,omitempty"` // of its quota, as the provider last said
	// Share: how it was in its shared pool when this machine last saw it.
	Share *ShareView `json:"share,omitempty"`

	// EndsSoon is when the login ends, if that is soon enough to warn people.
	EndsSoon time.Time `json:"-"`
	// Renew is the command that gives the account a new login.
	Renew fault.Remedy `json:"-"`
}

// BackoffView says since when refreshes fail, why, and when the next one may be tried.
// Stated: the provider asked for that time.
type BackoffView struct {
	Since  time.Time `json:"since"`  // refreshes fail
	Until  time.Time `json:"until"`  // no refresh is tried
	Reason string    `json:"reason"` // what the last one failed with
	Stated bool      `json:"stated"` // the provider asked for that time
}

// ShareView is an account of a shared pool as this machine last saw it.
type ShareView struct {
	Pool    string     `json:"pool"` // the id of the shared pool, the same on all machines
	State   ShareState `json:"state"`
	Machine string     `json:"machine,omitempty"` // that is refreshing it, or is waited for
	Since   time.Time  `json:"since,omitzero"`
	SeenAt  time.Time  `json:"seen_at,omitzero"` // when the engine last showed it; absent: never yet
}

// ShareState is who is busy with an account.
type ShareState string

// The states.
const (
	ShareIdle    ShareState = "idle"
	ShareClaimed ShareState = "claimed"
	ShareSending ShareState = "sending"
	ShareDead    ShareState = "dead"
	ShareWaiting ShareState = "waiting" // sending, on another machine, and the token is over
	ShareAlone   ShareState = "alone"   // the engine can't be reached from here, or refuses this machine
)

// viewShare is the state of an account in the shared pool p, which may be nil.
func viewShare(a *index.Account, p *index.SharedPool, now time.Time) *ShareView {
	s := a.Share
	if s == nil {
		return nil
	}
	v := &ShareView{Pool: s.Pool, State: ShareState(cmp.Or(s.State, index.ShareIdle)), Machine: s.Machine, Since: Seconds(s.Since), SeenAt: Seconds(s.SeenAt)}
	switch {
	case p != nil && (p.Engine == index.EngineUnreachable || p.Engine == index.EngineRefused):
		v.State, v.Machine, v.Since = ShareAlone, "", Seconds(p.SeenAt)
	case s.State == index.ShareSending && s.Sight != nil && !Lives(a, now):
		v.State = ShareWaiting
	}
	return v
}

// HoldView is a hold that is still running.
type HoldView struct {
	Scope      string    `json:"scope"` // * is the whole account
	Until      time.Time `json:"until"`
	Source     string    `json:"source"`            // what it is based on: a header's name, say
	Proven     bool      `json:"proven"`            // the provider stated the time; else it is a guess
	Cut        bool      `json:"cut,omitempty"`     // the provider stated a longer time than is believed
	Refused    bool      `json:"refused,omitempty"` // the API refused the token; it is no limit
	ReportedAt time.Time `json:"reported_at"`
}

// Reason is what the hold is based on, in a few plain words: "5-hour limit".
func (h HoldView) Reason() string {
	switch {
	case h.Refused:
		return "refused by the API"
	case h.Source == PersonSource:
		return "by hand"
	}
	return ratelimit.Reason(h.Source)
}

// Why is Reason with the time at which the hold ends: "5-hour limit, resets 02:00".
func (h HoldView) Why(now time.Time) string {
	reason := h.Reason()
	end := " until "
	switch {
	case !h.Proven:
		end = ", next try "
	case strings.HasSuffix(reason, " limit") && !h.Cut:
		end = ", resets "
	}
	return reason + end + humantime.At(h.Until, now)
}

// UsageView is a quota window as the provider last stated it. Used is a fraction: 1 is all
// of it, and it can be more.
type UsageView struct {
	Window   string    `json:"window"` // 5h, say
	Used     float64   `json:"used"`   // a fraction: 1 is all of it
	ResetsAt time.Time `json:"resets_at,omitzero"`
}

// BindingView is a bound directory. Label is that of the account it is bound to; empty if
// it is bound to a pool, or the account was removed.
type BindingView struct {
	Dir      string `json:"dir"`
	Provider string `json:"provider"`
	Account  string `json:"account,omitempty"`
	Label    string `json:"label,omitempty"`
	Pool     string `json:"pool,omitempty"`
}

// ViewBindings returns every bound directory, by path and provider.
func ViewBindings(idx *index.Index) []BindingView {
	all := []BindingView{}
	for _, bd := range idx.Bindings {
		v := BindingView{Dir: bd.Dir, Provider: bd.Provider, Account: bd.Account, Pool: bd.Pool}
		if a := idx.Account(bd.Account); a != nil {
			v.Label = a.Label
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(x, y BindingView) int {
		return cmp.Or(strings.Compare(x.Dir, y.Dir), strings.Compare(x.Provider, y.Provider))
	})
	return all
}

// ViewAccount shows a at the moment now. current is the current account of its pool, or
// nil; idx has its shared pool, if it is in one.
func ViewAccount(idx *index.Index, a, current *index.Account, now time.Time) AccountView {
	v := AccountView{
		ID: a.ID, Label: a.Label, Provider: a.Provider, Pool: a.Pool, Kind: a.Kind, Identity: a.Identity,
		Resource: a.Resource, Service: a.Service, Scopes: a.Scopes,
		State: StateOf(a, now), Current: current != nil && current.ID == a.ID, Rank: a.Rank, Generation: a.Generation,
		ExpiresAt: Seconds(a.ExpiresAt), RefreshExpiresAt: Seconds(a.RefreshExpiresAt), AddedAt: Seconds(a.AddedAt), RefreshedAt: Seconds(a.RefreshedAt),
		NoRefresh: a.Kind == index.KindOAuth && a.Fingerprint == "", Renew: Renewal(a), EndsSoon: EndsSoon(a, now),
	}
	if f := a.Failure; BackingOff(a, now) && a.Kind != index.KindAPIKey && !WantsLogin(a, now) {
		v.Backoff = &BackoffView{Since: Seconds(cmp.Or(f.Since, f.At)), Until: SecondsUp(f.NextTryAt), Reason: f.Message, Stated: f.Stated}
	}
	if a.Share != nil {
		v.Share = viewShare(a, idx.SharedPool(a.Share.Pool), now)
	}
	for _, h := range a.Holds {
		if h.Until.After(now) {
			v.Holds = append(v.Holds, ViewHold(h))
		}
	}
	for _, u := range a.Usage {
		if u.ResetsAt.IsZero() || u.ResetsAt.After(now) {
			v.Usage = append(v.Usage, UsageView{u.Window, u.Used, Seconds(u.ResetsAt)})
		}
	}
	return v
}

// ViewHold shows a hold.
func ViewHold(h index.Hold) HoldView {
	until := SecondsUp(h.Until)
	if h.Cut { // a cap must not seem exceeded
		until = Seconds(h.Until)
	}
	return HoldView{h.Scope, until, h.Source, h.Proven, h.Cut, IsRefusal(h.Source), Seconds(h.ReportedAt)}
}

// SecondsUp rounds up to whole seconds: for the end of a wait.
func SecondsUp(t time.Time) time.Time {
	if whole := Seconds(t); whole.Equal(t) {
		return whole
	}
	return Seconds(t.Add(time.Second))
}

// Seconds rounds down to whole seconds, in UTC, as documents have times.
func Seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
