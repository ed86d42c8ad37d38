package rotation

import (
	"testing"
	"time"

	"github.com/authferry/authferry/broker/index"
)

// That the login of a shared account has ended is believed only if the other machines were
// asked for this caller, or for another one while it waited.
func TestEndedSharedLoginIsLookedAtAgain(t *testing.T) {
	now := time.Now()
	for name, seen := range map[string]time.Time{"before this caller came": now.Add(-time.Millisecond), "in the future": now.Add(time.Hour)} {
		a := &index.Account{Fingerprint: "f", Dead: "f", Share: &index.Share{SeenAt: seen}}
		if !outdated(t.Context(), nil, nil, a, now) {
			t.Errorf("seen %s: the other machines aren't asked", name)
		}
	}
}
