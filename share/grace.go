package share

import (
	"time"

	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/share/seal"
)

// Some providers take a refresh token again for a while after its first use, in case the
// answer was lost. There nobody has to wait for a machine that has announced, as long as
// that while surely isn't over.

// announcement is what one process knows of when the newest announcement came.
type announcement struct {
	nonce  string
	before watch // the newest look that didn't show it yet; zero: this process had none
	looked watch // the newest look
}

// see takes note of what a look shows that began at a moment.
func (a *announcement) see(r *seal.Record, at watch) {
	if r.State == seal.Sending && r.Claim.Announced && r.Claim.Nonce != a.nonce {
		a.nonce, a.before = r.Claim.Nonce, a.looked
	}
	a.looked = at
}

// grace is the provider's; 0: none, or it is too short.
func grace(g *record.Grant) time.Duration {
	if g == nil || g.Endpoint.RefreshGrace < leastGrace {
		return 0
	}
	return g.Endpoint.RefreshGrace
}

// respected is how long what a passing machine has announced is respected.
func respected(g *record.Grant) time.Duration {
	if grace(g) > 0 {
		return min(graceLasts, sendingLasts)
	}
	return sendingLasts
}

// underWay is how long a request may take to the provider.
const underWay = 2 * time.Second

// resend is the second use of a refresh token that another machine may have used.
type resend struct {
	since watch // it was used after that
	grace time.Duration
}

// left is how long it may still be sent.
func (r *resend) left() time.Duration { return r.grace - underWay - r.since.elapsed() }

// inGrace is the resend of what another machine has announced, if this process saw that
// come, so long ago that this machine may go on; nil: it may not.
func (t *turn) inGrace() *resend {
	r := &resend{t.announced.before, grace(t.mine)}
	if r.grace == 0 || r.since.at.IsZero() || t.announced.nonce != t.rec.Claim.Nonce || t.rec.Claim.Attempt != 1 || passed(t.notes.sight()) < graceLasts || r.left() <= 0 {
		return nil
	}
	return r
}
