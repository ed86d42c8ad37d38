package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/etcd"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) {
	if os.Getenv("AUTHFERRY_TEST_ROLE") != "" {
		testenv.Roles{"reads": reads}.Main(m)
	}
	os.Exit(testenv.LeavingNothing(sharetest.Ending(m), "google.golang.org/grpc", "go.etcd.io/etcd/client"))
}

func open(t testing.TB, endpoints []string, c sharetest.Credentials) *etcd.Engine {
	t.Helper()
	e, err := etcd.Open(etcd.Config{Endpoints: endpoints, CA: c.CA, Cert: c.Cert, Key: c.Key})
	testenv.Must(t, err)
	t.Cleanup(func() { testenv.Check(t, e.Close()) })
	return e
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func swap(t testing.TB, e engine.Engine, key string, expect engine.Version, value string) engine.Entry {
	t.Helper()
	now, won, err := e.Swap(testenv.Patience(t), key, expect, []byte(value))
	if err != nil || !won {
		t.Fatalf("Swap of %s = %+v, %v, %v; want won", key, now, won, err)
	}
	return now
}

func value(t testing.TB, e engine.Engine, key string) string {
	t.Helper()
	got, _, err := e.Get(testenv.Patience(t), key)
	testenv.Must(t, err)
	return string(got.Value)
}

// unique is a key or name that no other test has, or the same test before.
func unique(name string) string { return fmt.Sprintf("%s-%08x", name, rand.Uint32()) } // #nosec G404 -- a name

func wantKind(t testing.TB, what string, err, want error) {
	t.Helper()
	for _, kind := range []error{engine.ErrUnknown, engine.ErrUnreachable, engine.ErrRefused} {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("%s: %v, want the kind %v", what, err, want)
			return
		}
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	c := sharetest.Shared(t)
	laptop := c.Holder(t, "laptop")
	enginetest.Run(t, func(t testing.TB) engine.Engine { return open(t, c.Endpoints(), laptop) })
}
