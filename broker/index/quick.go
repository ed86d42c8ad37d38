package index

import (
	"slices"
	"unicode/utf8"
	"unsafe"
)

// quickParse reads what encode writes: every field at most once, in the order of the
// schema, and no unknown ones. If it meets anything else it reports false, and
// encoding/json decides; its reflection would cost a twentieth of the time of a token. A
// test proves that the two never differ.
func quickParse(data []byte) (*Index, bool) {
	if !utf8.Valid(data) {
		return nil, false
	}
	ix := new(Index)
	// No copy: in a new process each page of it would be a page fault. Nothing writes to
	// data.
	c := &cursor{s: unsafe.String(unsafe.SliceData(data), len(data))} // #nosec G103
	c.open('{')
	c.number("schema", &ix.Schema)
	c.text("store", &ix.Store)
	c.text("keystore", &ix.Keystore)
	c.text("key_file", &ix.KeyFile)
	c.text("path", &ix.Path)
	c.accounts(&ix.Accounts)
	if c.key("pools") {
		ix.Pools = map[string]Pool{}
		for c.open('{'); c.more('}'); {
			name := c.str()
			c.take(':')
			var p Pool
			object(c, &p, c.pool)
			ix.Pools[name] = p
		}
	}
	list(c, "bindings", &ix.Bindings, c.binding)
	list(c, "shares", &ix.Shares, c.sharedPool)
	c.take('}')
	c.space()
	return ix, !c.lost && c.i == len(c.s)
}

// shortest is about the smallest size of an account. It keeps a file of empty accounts from
// reserving much more memory than its own size.
const shortest = 128

// accounts is list, but reserves memory once it has seen the first one.
func (c *cursor) accounts(to *[]Account) {
	if !c.key("accounts") {
		return
	}
	*to = []Account{}
	for c.open('['); c.more(']'); {
		start, n := c.i, len(*to)
		*to = append(*to, Account{})
		object(c, &(*to)[n], c.account)
		if n == 0 {
			*to = slices.Grow(*to, len(c.s[c.i:])/max(c.i-start, shortest))
		}
	}
}

func (c *cursor) account(a *Account) {
	c.text("id", &a.ID)
	c.text("label", &a.Label)
	c.text("provider", &a.Provider)
	c.text("pool", &a.Pool)
	c.text("kind", &a.Kind)
	c.number("rank", &a.Rank)
	c.flag("disabled", &a.Disabled)
	c.flag("removing", &a.Removing)
	c.flag("revoke", &a.Revoke)
	c.text("shared", &a.Shared)
	c.text("identity", &a.Identity)
	c.text("issuer", &a.Issuer)
	c.text("subject", &a.Subject)
	c.text("organization", &a.Organization)
	c.text("resource", &a.Resource)
	c.text("service", &a.Service)
	c.texts("scopes", &a.Scopes)
	c.number("generation", &a.Generation)
	c.text("grant_slot", &a.GrantSlot)
	c.text("access_slot", &a.AccessSlot)
	c.text("fingerprint", &a.Fingerprint)
	c.text("token_fingerprint", &a.TokenFingerprint)
	c.texts("spent", &a.Spent)
	c.moment("expires_at", &a.ExpiresAt)
	c.moment("obtained_at", &a.ObtainedAt)
	c.moment("refresh_expires_at", &a.RefreshExpiresAt)
	c.moment("added_at", &a.AddedAt)
	c.moment("refreshed_at", &a.RefreshedAt)
	list(c, "intents", &a.Intents, c.intent)
	optional(c, "failure", &a.Failure, c.failure)
	c.text("dead", &a.Dead)
	c.moment("rejected_at", &a.RejectedAt)
	c.number("refused_generation", &a.RefusedGeneration)
	c.moment("forced_at", &a.ForcedAt)
	list(c, "holds", &a.Holds, c.hold)
	list(c, "usage", &a.Usage, c.usage)
	optional(c, "share", &a.Share, c.share)
}

func (c *cursor) share(s *Share) {
	c.text("pool", &s.Pool)
	c.text("role", &s.Role)
	c.text("state", &s.State)
	c.text("machine", &s.Machine)
	c.moment("since", &s.Since)
	c.moment("seen_at", &s.SeenAt)
	c.number("generation", &s.Generation)
	optional(c, "sight", &s.Sight, c.sight)
	list(c, "claims", &s.Claims, c.claim)
	c.moment("failed_at", &s.FailedAt)
	c.flag("known", &s.Known)
	optional(c, "told", &s.Told, c.told)
	optional(c, "settings", &s.Settings, c.settings)
}

func (c *cursor) settings(s *Settings) {
	c.text("change", &s.Change)
	c.text("label", &s.Label)
	c.number("rank", &s.Rank)
	c.flag("disabled", &s.Disabled)
}

func (c *cursor) told(t *Told) {
	c.wide("version", &t.Version)
	list(c, "holds", &t.Holds, c.toldHold)
	c.text("usage", &t.Usage)
	c.moment("usage_at", &t.UsageAt)
	c.text("probe", &t.Probe)
}

func (c *cursor) toldHold(h *ToldHold) {
	c.text("id", &h.ID)
	c.moment("until", &h.Until)
}

func (c *cursor) sight(s *Sight) {
	c.text("nonce", &s.Nonce)
	c.text("phase", &s.Phase)
	c.text("boot", &s.Boot)
	c.duration("at", &s.At)
	c.moment("wall", &s.Wall)
}

func (c *cursor) claim(cl *Claim) {
	c.text("nonce", &cl.Nonce)
	c.flag("announced", &cl.Announced)
	c.flag("refused", &cl.Refused)
	c.text("boot", &cl.Boot)
	c.text("host", &cl.Host)
	c.number("pid", &cl.PID)
	c.text("process", &cl.Process)
}

func (c *cursor) sharedPool(p *SharedPool) {
	c.text("id", &p.ID)
	c.text("pool", &p.Pool)
	c.text("machine", &p.Machine)
	c.text("role", &p.Role)
	c.flag("passing", &p.Passing)
	c.moment("seen_at", &p.SeenAt)
	c.text("engine", &p.Engine)
	c.wide("revision", &p.Revision)
	c.moment("looked_at", &p.LookedAt)
}

func (c *cursor) intent(in *Intent) {
	c.text("slot", &in.Slot)
	c.number("generation", &in.Generation)
	c.text("fingerprint", &in.Fingerprint)
	c.number("attempt", &in.Attempt)
	c.number("pid", &in.PID)
	c.moment("started_at", &in.StartedAt)
	c.text("process", &in.Process)
}

func (c *cursor) failure(f *Failure) {
	c.text("class", &f.Class)
	c.text("message", &f.Message)
	c.number("count", &f.Count)
	c.moment("next_try_at", &f.NextTryAt)
	c.moment("at", &f.At)
	c.moment("since", &f.Since)
	c.flag("stated", &f.Stated)
	c.flag("token_over", &f.TokenOver)
}

func (c *cursor) hold(h *Hold) {
	c.text("scope", &h.Scope)
	c.moment("until", &h.Until)
	c.text("source", &h.Source)
	c.flag("proven", &h.Proven)
	c.flag("cut", &h.Cut)
	c.moment("reported_at", &h.ReportedAt)
	c.number("guesses", &h.Guesses)
	c.moment("probed_at", &h.ProbedAt)
	c.text("told", &h.Told)
}

func (c *cursor) usage(u *Usage) {
	c.text("window", &u.Window)
	c.fraction("used", &u.Used)
	c.moment("resets_at", &u.ResetsAt)
	c.moment("reported_at", &u.ReportedAt)
	c.flag("moved", &u.Moved)
}

func (c *cursor) pool(p *Pool) {
	c.text("provider", &p.Provider)
	c.text("current", &p.Current)
}

func (c *cursor) binding(b *Binding) {
	c.text("dir", &b.Dir)
	c.text("provider", &b.Provider)
	c.text("account", &b.Account)
	c.text("pool", &b.Pool)
}
