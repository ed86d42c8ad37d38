package share

import (
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

// sighted is how long this machine has seen the record's claim in its phase. Without a boot
// clock it goes by the wall clock, so nothing may depend on it but how long one waits.
func sighted(s *index.Sight) time.Duration {
	if s == nil {
		return 0
	}
	return record.Elapsed(s.Wall, record.Boot{ID: s.Boot, At: s.At})
}

// passed is sighted by a clock that nobody can set. Without a boot clock it counts only what
// this process has seen.
func passed(s *index.Sight) time.Duration {
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
