package broker

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/testenv"
)

// A proxy is known while it runs; what a killed one left is no proxy, and is swept by
// the next one.
func TestProxies(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", 0)
	b := w.broker()
	withdraw, err := folder.Announce(b.Folder, folder.ProxyView{Program: "agent", Providers: []string{"sim"}, Pools: []string{"sim"}, Listen: "127.0.0.1:1"})
	testenv.Must(t, err)
	dead := filepath.Join(w.dir, "locks", "run-dead.proxy")
	for _, suffix := range []string{"", ".lock", ".lock.holder"} {
		testenv.Must(t, os.WriteFile(dead+suffix, []byte(`{"pid":1,"program":"dead"}`), 0o600))
	}
	s, err := Status(b.Folder)
	testenv.Must(t, err)
	if len(s.Proxies) != 1 || s.Proxies[0].Program != "agent" || s.Proxies[0].PID != os.Getpid() || s.Proxies[0].Since.IsZero() {
		t.Errorf("%+v", s.Proxies)
	}
	again, err := folder.Announce(b.Folder, folder.ProxyView{})
	testenv.Must(t, err)
	if left, _ := filepath.Glob(dead + "*"); left != nil {
		t.Errorf("left: %q", left)
	}
	if n := len(folder.Proxies(b.Folder)); n != 2 {
		t.Errorf("%d proxies run", n)
	}
	withdraw()
	again()
	if left, _ := filepath.Glob(filepath.Join(w.dir, "locks", "run-*")); left != nil || len(folder.Proxies(b.Folder)) != 0 {
		t.Errorf("left: %q", left)
	}
}
