package authferrytest

import (
	"runtime"
	"testing"

	"github.com/authferry/authferry/cmd/authferry/setup"
	"github.com/authferry/authferry/testenv"
)

// SetUpOpenCode does for home what program's setup opencode does.
func SetUpOpenCode(t *testing.T, home, program string) {
	t.Helper()
	m := setup.Machine{OS: runtime.GOOS, Home: home, Binary: program, Getenv: func(string) string { return "" }}
	for _, c := range setup.Clients() {
		if c.Name != "opencode" {
			continue
		}
		changes, err := c.Plan(m, setup.Choice{}, false)
		if err != nil || len(changes) != 1 {
			t.Fatalf("%d changes, %v", len(changes), err)
		}
		testenv.Must(t, changes[0].Apply())
	}
}
