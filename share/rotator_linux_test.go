package share

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/etcd"
)

func init() { roles["rotator"] = rotator }

// rotator is one of the arena's processes: a rotator with deadlines that are short enough to
// be met, which kills or stops itself where it is told to.
func rotator([]string) error {
	hurry()
	thisHost = func() string { return os.Getenv("ARENA_HOST") }
	phase := os.Getenv("ARENA_PHASE")
	folder.Reached = func(point string) {
		switch point {
		case "K7":
			note(phase, "sent")
		case "K14":
			if now, _ := os.ReadFile(phase); string(now) == "sent" {
				note(phase, "stored")
			}
		case "S6":
			note(phase, "published")
		}
		switch point {
		case os.Getenv("ARENA_KILL"):
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		case os.Getenv("ARENA_STOP"):
			if _, err := os.Stat(phase + ".stopped"); err != nil { // once
				note(phase+".stopped", "")
				_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
				time.Sleep(20 * time.Millisecond) // another thread may have got it first
			}
		}
	}
	f := folder.New(folder.Options{Dir: os.Getenv("ARENA_DIR"), HTTPTimeout: 4 * time.Second, Client: oauth.Client{Timeout: arenaPatience}})
	beyond, err := strconv.Atoi(os.Getenv("ARENA_BEYOND"))
	if err != nil {
		return err
	}
	r := rotation.Rotator{Folder: f, Peers: NewPeers(func(_ context.Context, c Connection) (engine.Engine, error) {
		e, err := etcd.Open(etcd.Config{Endpoints: c.Endpoints, CA: []byte(c.CA), Cert: []byte(c.Cert), Key: []byte(c.Key.Reveal())})
		cut, asked := strconv.Atoi(os.Getenv("ARENA_CUT"))
		if err != nil || asked != nil {
			return e, err
		}
		line := enginetest.NewFaulty(e) // is cut after a number of calls
		line.Inject(func(c enginetest.Call) enginetest.Fault {
			if c.N < cut {
				return enginetest.Fault{}
			}
			return enginetest.Fault{Err: engine.ErrUnreachable}
		})
		return line, nil
	})}
	_ = r.Main(context.Background(), os.Getenv("ARENA_ID"), rotation.Wish{Beyond: beyond, Person: os.Getenv("ARENA_PERSON") != ""}, os.Stdout) // it was reported
	return nil
}

func note(path, text string) { _ = os.WriteFile(path, []byte(text), 0o600) }

// arenaPatience is what a provider has for its answer in the arena.
const arenaPatience = 8 * time.Second

// hurry makes all deadlines of the protocol short, in the same order as ever.
func hurry() {
	engineCall, sendWithin, claimLasts = 2*time.Second, 3*time.Second, 3*time.Second
	sendingLasts = sendWithin + arenaPatience + 4*time.Second
	stalled = arenaPatience + 4*time.Second
	tellFor = 10 * time.Second
}
