package rotation

import (
	"testing"
	"time"

	"github.com/authferry/authferry/broker/index"
)

// That the login of a shared account has ended is believed for a while only: another machine
// may have a new one.
func TestEndedSharedLoginIsLookedAtAgain(t *testing.T) {
	a := &index.Account{Fingerprint: "f", Dead: "f", Share: &index.Share{SeenAt: time.Now().Add(-time.Minute)}}
	if !outdated(t.Context(), nil, nil, a) {
		t.Error("the other machines aren't asked")
	}
}
