package opencode_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// OpenCode reaches a remote MCP server over authferry mcp connect, as setup wrote it: a
// call, a token that is refused in the middle, and eight that find it at its end.
func TestOpenCodeRemoteMCP(t *testing.T) {
	o := newOpenCode(t, time.Hour)
	testenv.Must(t, o.Server.Configure(func(c *brokertest.Config) { c.SignedIn, c.AccessTTL = workUser, 20*time.Second }))
	began := time.Now()
	o.LogIn(o.Server.URL+"/mcp", "--name", "docs")
	o.configure(o.models.URL, false)
	o.Must("", "setup", "opencode", "--mcp", "docs", "--yes")
	asks := func() {
		t.Helper()
		before := len(o.models.requests("result"))
		got := o.prompt("who is it")
		results := o.models.requests("result")[before:]
		if got.Code != 0 || len(results) == 0 || !strings.Contains(results[0].result, workUser) {
			t.Errorf("exit code %d, %v\n%s%s", got.Code, results, got.Out, got.Err)
		}
	}
	asks()
	testenv.Must(t, o.Server.Configure(func(c *brokertest.Config) { c.AccessTTL = time.Hour }))
	time.Sleep(time.Until(began.Add(21 * time.Second))) // the token's end
	refreshes := o.Server.Refreshes(workUser)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			cmd := o.opencode("mcp", "list")
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			if got := o.Finish(cmd); got.Code != 0 || !strings.Contains(got.Out+got.Err, "connected") {
				t.Errorf("exit code %d\n%s%s", got.Code, got.Out, got.Err)
			}
		})
	}
	all.Wait()
	if n := o.Server.Refreshes(workUser) - refreshes; n != 1 {
		t.Errorf("%d refreshes at the token's end", n)
	}
	o.Server.Advance(time.Minute)
	o.models.before = sync.OnceFunc(func() { o.Server.ExpireAccess(workUser) })
	refreshes = o.Server.Refreshes(workUser)
	asks()
	l := o.Server.Ledger()
	if n := o.Server.Refreshes(workUser) - refreshes; n > 1 || l.Registrations != 1 || len(l.Reuse) > 0 {
		t.Errorf("%d refreshes after a refusal, %d registrations, %d reuses", n, l.Registrations, len(l.Reuse))
	}
}
