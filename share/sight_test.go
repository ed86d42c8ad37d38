package share

import (
	"os"
	"testing"

	"github.com/authferry/authferry/broker/index"
)

// A note of a claim is trusted if it was made in this boot, on this host.
func TestNotes(t *testing.T) {
	boot, host := thisBoot, thisHost
	defer func() { thisBoot, thisHost = boot, host }()
	thisHost = func() string { return "host" }
	mine := index.Claim{Nonce: "n", Boot: "boot", Host: "host", PID: os.Getpid(), Process: "an earlier one with this number"}
	for name, row := range map[string]struct {
		boot   string
		change func(*index.Claim)
		want   bool
	}{
		"ours":                    {"boot", func(*index.Claim) {}, true},
		"another claim":           {"boot", func(c *index.Claim) { c.Nonce = "m" }, false},
		"another boot":            {"another", func(*index.Claim) {}, false},
		"another host":            {"boot", func(c *index.Claim) { c.Host = "another" }, false},
		"boots that have no name": {"", func(c *index.Claim) { c.Boot = "" }, false},
	} {
		thisBoot = func() string { return row.boot }
		c := mine
		row.change(&c)
		x := &notes{local: &local{account: &index.Account{Share: &index.Share{Claims: []index.Claim{c}}}}}
		if got := x.own("n"); (got != nil) != row.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
