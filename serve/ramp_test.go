package serve

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/testenv"
)

// An account that the pool moves to gets one request, then two, then three.
func TestRamp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all ramps
		at, _, _ := all.enter(t.Context(), "sim", "", "ada")
		at.leave(accepted)

		var mu sync.Mutex
		inside, most := 0, []int{}
		var done sync.WaitGroup
		for range 12 {
			done.Go(func() {
				at, _, err := all.enter(t.Context(), "sim", "", "bob")
				if at == nil || err != nil {
					t.Error("turned away", err)
					return
				}
				mu.Lock()
				inside++
				most = append(most, inside)
				mu.Unlock()
				time.Sleep(300 * time.Millisecond)
				mu.Lock()
				inside--
				mu.Unlock()
				at.leave(accepted)
			})
			synctest.Wait()
		}
		done.Wait()
		if slices.Max(most[:1]) != 1 || slices.Max(most[:3]) > 2 || slices.Max(most[:6]) > 4 {
			t.Errorf("at once: %v", most)
		}
	})
}

// Who waits for one that is refused asks the broker again; who leaves isn't missed; an
// answer that takes long lets one more in every second.
func TestRampTurnsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all ramps
		first, _, _ := all.enter(t.Context(), "sim", "", "ada")
		first.leave(refused)
		probe, waited, _ := all.enter(t.Context(), "sim", "", "ada")
		if probe == nil || waited {
			t.Fatal("nobody looks whether the limit is over")
		}
		var again, gone atomic.Int32
		ctx, leave := context.WithCancel(t.Context())
		for i := range 20 {
			ctx := ctx
			if i > 0 {
				ctx = t.Context()
			}
			go func() {
				switch at, waited, err := all.enter(ctx, "sim", "", "ada"); {
				case err != nil:
					gone.Add(1)
				case at == nil && waited:
					again.Add(1)
				}
			}()
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		probe.leave(refused)
		probe.leave(accepted) // only the first counts
		synctest.Wait()
		if again.Load() != 19 || gone.Load() != 1 {
			t.Errorf("%d ask again, %d left", again.Load(), gone.Load())
		}

		slow, _, _ := all.enter(t.Context(), "sim", "", "ada")
		started := time.Now()
		for i := range 3 {
			at, waited, err := all.enter(t.Context(), "sim", "", "ada")
			if at == nil || !waited || err != nil || time.Since(started) != time.Duration(i+1)*rampEvery {
				t.Errorf("number %d came in after %v", i+2, time.Since(started))
			}
		}
		slow.leave(neither)
	})
}

// 64 sessions meet a limit at once, at an API that takes its time to say so: the next
// account refuses few of them, and the pool moves by one account for each that is held.
func TestStorm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ limited, serves string }{{"ada", "bob"}, {"ada bob", "eve"}, {"ada bob eve", ""}} {
		t.Run(test.limited, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ada", "bob", "eve").open()
			var arrived sync.WaitGroup
			arrived.Add(64)
			w.api.will(func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Who") == "ada" {
					arrived.Done()
					arrived.Wait() // all are under way
				}
				time.Sleep(300 * time.Millisecond)
				limits(429, map[string]string{"Retry-After": "3600"}, "", strings.Fields(test.limited)...)(rw, r)
			})
			var served, said atomic.Int32
			var all sync.WaitGroup
			for i := range 64 {
				all.Go(func() {
					switch res := w.post(messagesPath, aModel, "X-Claude-Code-Session-Id", strconv.Itoa(i)); {
					case test.serves != "" && res.body == "ok "+test.serves:
						served.Add(1)
					case test.serves == "" && res.status == 429 && strings.Contains(res.body, "trouble"):
						said.Add(1)
					default:
						t.Errorf("%d %q %v", res.status, res.body, res.err)
					}
				})
			}
			all.Wait()
			asked := map[string]int{}
			for who := range strings.FieldsSeq(w.api.asked()) {
				asked[who]++
			}
			t.Logf("asked: %v", asked)
			for who, n := range asked {
				switch {
				case (who == "ada" || who == test.serves) && n != 64:
					t.Errorf("%d requests at %s's, want 64", n, who)
				case who != "ada" && who != test.serves && (n > 8 || !strings.Contains(test.limited, who)):
					t.Errorf("%d requests at %s's", n, who)
				}
			}
			status, err := broker.Status(w.b.Folder)
			testenv.Must(t, err)
			for _, a := range status.Pools[0].Accounts {
				if a.Current != (a.Label == test.serves) {
					t.Errorf("%s is current: %t", a.Label, a.Current)
				}
			}
		})
	}
}
