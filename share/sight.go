package share

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/share/seal"
)

// newNonce names one claim.
func newNonce() string { return rand.Text() }

// phase is how far a claim is: only an announced one may be sent.
func phase(r *seal.Record) string {
	if r.State == seal.Sending && r.Claim.Announced {
		return index.ShareSending
	}
	return index.ShareClaimed
}

// firstSeen has when this process first saw a claim in a phase, for systems whose boot
// clock it can't read: its own clock can't be set either.
var firstSeen sync.Map // nonce and phase: time.Time

// noteSight notes when this machine first saw the record's claim in its phase.
func (t *turn) noteSight(ctx context.Context) error {
	nonce, phase, boot := t.rec.Claim.Nonce, phase(t.rec), record.BootNow()
	firstSeen.LoadOrStore(nonce+" "+phase, time.Now())
	if s := t.sight(); s != nil && s.Boot == boot.ID {
		return nil
	}
	name := t.called(ctx, t.rec.Claim.Machine)
	return t.o.Folder.Change(ctx, index.Fast, t.l.Account, func(idx *index.Index, a *index.Account) {
		t.show(idx, a)
		a.Share.Machine = name
		a.Share.Sight = &index.Sight{Nonce: nonce, Phase: phase, Boot: boot.ID, At: boot.At, Wall: time.Now().UTC()}
		t.account = a
	})
}

// sight is the note about the record's claim in its phase; nil: there is none.
func (t *turn) sight() *index.Sight {
	if t.account.Share == nil || t.rec.Claim == nil {
		return nil
	}
	if s := t.account.Share.Sight; s != nil && s.Nonce == t.rec.Claim.Nonce && s.Phase == phase(t.rec) {
		return s
	}
	return nil
}

// sighted is how long this machine has seen the record's claim in its phase. Without a boot
// clock it goes by the wall clock, so nothing may depend on it but how long one waits.
func (t *turn) sighted() time.Duration {
	s := t.sight()
	if s == nil {
		return 0
	}
	return record.Elapsed(s.Wall, record.Boot{ID: s.Boot, At: s.At})
}

// passed is sighted by a clock that nobody can set. Without a boot clock it counts only what
// this process has seen.
func (t *turn) passed() time.Duration {
	s := t.sight()
	if s == nil {
		return 0
	}
	if b := record.BootNow(); s.Boot != "" && s.Boot == b.ID {
		return b.At - s.At
	}
	if first, ok := firstSeen.Load(s.Nonce + " " + s.Phase); ok {
		return time.Since(first.(time.Time))
	}
	return 0
}

// thisHost names this machine as its processes see it. A copy of it, another container or
// another namespace of processes has another name.
var thisHost = sync.OnceValue(func() string {
	h := sha256.New()
	name, _ := os.Hostname()
	_, _ = h.Write([]byte(name + "\x00"))
	for _, path := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if id, err := os.ReadFile(path); err == nil {
			_, _ = h.Write(id)
			break
		}
	}
	if link, err := os.Readlink("/proc/self/ns/pid"); err == nil {
		_, _ = h.Write([]byte(link))
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
})

// thisBoot names this boot of the machine; empty: the system has no name for it, and notes
// aren't trusted.
var thisBoot = func() string {
	if id := record.BootNow().ID; id != "" {
		return id
	}
	return bootSession()
}
