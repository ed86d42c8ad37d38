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

func TestMain(m *testing.M) {
	if os.Getenv("AUTHFERRY_TEST_ROLE") != "" {
		roles.Main(m)
	}
	spread = 20 * time.Millisecond // few machines meet in these tests
	os.Exit(testenv.Alone(sharetest.Ending(m)).Run())
}
