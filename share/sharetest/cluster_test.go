package sharetest_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Alone(sharetest.Ending(m)).Run()) }

func TestShared(t *testing.T) {
	c := sharetest.Shared(t)
	c.Etcdctl(t, "put", "authferry/x", "1")
	if out := c.Etcdctl(t, "get", "authferry/x", "--print-value-only"); strings.TrimSpace(out) != "1" {
		t.Errorf("got %q", out)
	}
	laptop := c.Holder(t, "laptop")
	if again := c.Holder(t, "laptop"); !bytes.Equal(again.Cert, laptop.Cert) {
		t.Error("one name is two machines")
	}
	if c.Leader(t) != 0 {
		t.Error("the only node doesn't lead")
	}
}
