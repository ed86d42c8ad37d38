package brokertest

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"
)

// books is everything the server remembers. One mutex guards it all, so that
// a snapshot is of one instant.
type books struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	families []*family
	refresh  map[string]*refreshToken
	access   map[string]*accessToken
	codes    map[string]*code
	devices  map[string]*device
	keys     map[string]string // API key to user
	clients  map[string]*client

	inflight    map[string]int // refresh requests, by user
	maxInflight map[string]int
	api         map[string]int
	windows     map[string]*window
	counts      Counts
	reuse       []Reuse
	verifiers   []string
}

type family struct {
	id       int
	client   string
	user     string
	scope    string
	nonce    string
	resource string // it is for (RFC 8707); empty: any
	issued   time.Time
	revoked  time.Time
	why      string
	refresh  []*refreshToken
	access   []*accessToken
	previous *refreshToken // the one spent last
	renewals int
}

type refreshToken struct {
	value   string
	family  *family
	issued  time.Time
	expires time.Time // zero: never
	spent   time.Time
	yielded pair
	sends   []*Send
}

type accessToken struct {
	value   string
	family  *family
	expires time.Time
	dead    bool
}

type pair struct {
	access  *accessToken
	refresh *refreshToken
}

func newBooks() *books {
	return &books{
		changed: make(chan struct{}),
		refresh: map[string]*refreshToken{}, access: map[string]*accessToken{},
		codes: map[string]*code{}, devices: map[string]*device{}, keys: map[string]string{}, clients: map[string]*client{},
		inflight: map[string]int{}, maxInflight: map[string]int{},
		api: map[string]int{}, windows: map[string]*window{},
	}
}

// change runs f under the lock and wakes whoever waits for a change.
func (b *books) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

func token(prefix string) string { return prefix + rand.Text() }

// open starts a family; the caller holds the lock, as for all that follow.
func (b *books) open(now time.Time, cfg Config, user, scope, nonce string) (*family, pair) {
	f := &family{id: len(b.families) + 1, client: cfg.ClientID, user: user, scope: scope, nonce: nonce, issued: now}
	b.families = append(b.families, f)
	return f, pair{b.mintAccess(now, cfg, f), b.mintRefresh(now, cfg, f)}
}

func (b *books) mintAccess(now time.Time, cfg Config, f *family) *accessToken {
	t := &accessToken{value: token("afat_"), family: f, expires: now.Add(cfg.AccessTTL)}
	b.access[t.value] = t
	f.access = append(f.access, t)
	return t
}

func (b *books) mintRefresh(now time.Time, cfg Config, f *family) *refreshToken {
	t := &refreshToken{value: token("afrt_"), family: f, issued: now}
	if cfg.RefreshTTL > 0 {
		t.expires = now.Add(cfg.RefreshTTL)
	}
	b.refresh[t.value] = t
	f.refresh = append(f.refresh, t)
	return t
}

func (b *books) revoke(now time.Time, f *family, why string) {
	if f.revoked.IsZero() {
		f.revoked, f.why = now, why
	}
}

// renew answers a refresh: the pair, or a refusal. It records the outcome in
// send.
func (b *books) renew(now time.Time, cfg Config, value string, send *Send) (pair, *refusal) {
	r := rules[cfg.Rotation]
	t := b.refresh[value]
	if t == nil {
		return pair{}, invalidGrant("refresh token not found or invalid")
	}
	if !t.spent.IsZero() {
		b.reuse = append(b.reuse, Reuse{At: now, User: t.family.user, Family: t.family.id, Token: t.value})
	}
	switch f := t.family; {
	case !f.revoked.IsZero():
		send.Outcome = Refused
		return pair{}, invalidGrant("the login was revoked")
	case !t.expires.IsZero() && !now.Before(t.expires):
		send.Outcome = Refused
		return pair{}, invalidGrant("refresh token expired")
	case t.spent.IsZero():
		return b.firstUse(now, cfg, r, t, send), nil
	default:
		p, refused := b.again(now, cfg, r, t, send)
		b.reuse[len(b.reuse)-1].Forgiven = refused == nil
		return p, refused
	}
}

func (b *books) firstUse(now time.Time, cfg Config, r rule, t *refreshToken, send *Send) pair {
	f := t.family
	if r.killsAccess {
		for _, a := range f.access {
			a.dead = true
		}
	}
	p := pair{b.mintAccess(now, cfg, f), t}
	send.Outcome = Renewed
	if r.rotates {
		p.refresh = b.mintRefresh(now, cfg, f)
		send.Outcome = Rotated
	}
	if r.spends {
		t.spent, t.yielded, f.previous = now, p, t
	}
	f.renewals++
	return p
}

func (b *books) again(now time.Time, cfg Config, r rule, t *refreshToken, send *Send) (pair, *refusal) {
	f := t.family
	inGrace := now.Sub(t.spent) <= cfg.Grace
	switch {
	case r.grace == graceSame && inGrace:
		send.Outcome = Forgiven
		return t.yielded, nil
	case r.grace == graceNew && inGrace, r.grace == gracePrevious && inGrace && f.previous == t:
		send.Outcome = Forgiven
		f.renewals++
		return pair{b.mintAccess(now, cfg, f), b.mintRefresh(now, cfg, f)}, nil
	case r.killsFamily:
		send.Outcome = RevokedFamily
		b.revoke(now, f, "a refresh token was used again")
	default:
		send.Outcome = Refused
	}
	refused := invalidGrant("refresh token already used")
	refused.kin = "refresh_token_reused"
	return pair{}, refused
}

func (t *refreshToken) usable(now time.Time) bool {
	return t.family.revoked.IsZero() && t.spent.IsZero() && (t.expires.IsZero() || now.Before(t.expires))
}

// live returns the family and user that a bearer stands for; the user alone
// for an API key.
func (b *books) live(now time.Time, bearer string) (user string, f *family, ok bool) {
	if user, ok := b.keys[bearer]; ok {
		return user, nil, true
	}
	a := b.access[bearer]
	if a == nil || a.dead || !a.family.revoked.IsZero() || !now.Before(a.expires) {
		return "", nil, false
	}
	return a.family.user, a.family, true
}

// owner names the user of any token that was ever issued, for faults that are
// meant for one user.
func (b *books) owner(values ...string) string {
	for _, v := range values {
		if t := b.refresh[v]; t != nil {
			return t.family.user
		}
		if t := b.access[v]; t != nil {
			return t.family.user
		}
		if c := b.codes[v]; c != nil {
			return c.user
		}
		if d := b.devices[v]; d != nil {
			return d.user
		}
		if user, ok := b.keys[v]; ok {
			return user
		}
	}
	return ""
}

func hasScope(scope, want string) bool { return slices.Contains(strings.Fields(scope), want) }
