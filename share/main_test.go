package share

import (
	"os"
	"testing"
	"time"

	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// roles are what this test binary can be besides its tests.
var roles = testenv.Roles{}

// ClaimsLast has machines respect a claim of another one for d, in a test that is alone.
func ClaimsLast(t *testing.T, d time.Duration) {
	old := claimLasts
	t.Cleanup(func() { claimLasts = old })
	claimLasts = d
}

func TestMain(m *testing.M) {
	if os.Getenv("AUTHFERRY_TEST_ROLE") != "" {
		roles.Main(m)
	}
	spread = 20 * time.Millisecond // few machines meet in these tests
	os.Exit(testenv.Alone(sharetest.Ending(m)).Run())
}
