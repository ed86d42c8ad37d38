package share_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// All machines of a pool find their token over at the same moment, five times, each in a
// process of its own: the provider gets five requests.
func TestHerdOfMachines(t *testing.T) {
	t.Parallel()
	sharetest.Need(t)
	var cluster *sharetest.Cluster
	if proofs.On() {
		cluster = sharetest.New(t, sharetest.Options{Nodes: 3})
	} else {
		cluster = sharetest.Shared(t)
	}
	const generations = 5
	a := newArena(t, cluster, proofs.Size(5, 50), 1, time.Hour, rand.New(rand.NewPCG(1, 1))) // #nosec G404 -- a test
	user := a.users[0]
	for range generations {
		patience := testenv.Patience(t)
		var herd sync.WaitGroup
		for _, x := range a.all {
			beyond := x.entry(user).Generation
			herd.Go(func() {
				code := x.rotateBeyond(user, beyond, "ARENA_CALM=1")
				for code != "" && patience.Err() == nil { // on a slow machine it gives up
					t.Log(x.name, code)
					code = x.rotateBeyond(user, beyond, "ARENA_CALM=1")
				}
				if code != "" {
					t.Errorf("%s got no token: %s", x.name, code)
				}
			})
		}
		herd.Wait()
	}
	l := a.server.Ledger()
	if l.TokenRequests != generations || sends(l) != generations || len(l.Reuse) != 0 {
		t.Errorf("%d machines and %d generations: %d token requests, %d sends, %d reuses", len(a.all), generations, l.TokenRequests, sends(l), len(l.Reuse))
	}
	for _, x := range a.all {
		if gen := x.entry(user).Share.Generation; gen != generations+1 {
			t.Errorf("%s has generation %d", x.name, gen)
		}
	}
}
