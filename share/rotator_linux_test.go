package share

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/etcd"
	"github.com/authferry/authferry/share/pipe"
)

func init() { roles["rotator"], roles["person"] = rotator, person }

// rotator is one of the arena's processes: a rotator with deadlines that are short enough to
// be met, which kills or stops itself where it is told to.
func rotator([]string) error {
	f, dial, err := arenaMachine()
	if err != nil {
		return err
	}
	atArenaPoints()
	beyond, err := strconv.Atoi(os.Getenv("ARENA_BEYOND"))
	if err != nil {
		return err
	}
	r := rotation.Rotator{Folder: f, Peers: NewPeers(dial)}
	_ = r.Main(context.Background(), os.Getenv("ARENA_ID"), rotation.Wish{Beyond: beyond, Person: os.Getenv("ARENA_PERSON") != ""}, os.Stdout) // it was reported
	return nil
}

// person is a command by a person on a machine of the arena: after the engine was restored,
// about a machine that announced something and doesn't come back, or for another label or
// order.
func person(args []string) error {
	f, dial, err := arenaMachine()
	if err != nil {
		return err
	}
	recovered := false
	switch args[0] {
	case "confirm":
		_, err = Doctor(context.Background(), f, dial, pipe.DoctorRequest{Pool: "work", Fix: true})
	case "recover":
		req := pipe.RecoverRequest{Account: args[1]}
		var asked *pipe.RecoverResult
		if asked, err = Recover(context.Background(), f, dial, req); err == nil && !asked.Recovered {
			req.Claim = asked.Claim
			asked, err = Recover(context.Background(), f, dial, req)
			recovered = err == nil && asked.Recovered
		}
	case "rename":
		if _, err = account.Rename(context.Background(), f, args[1], args[2]); err == nil {
			_, err = Set(context.Background(), f, dial, pipe.SetRequest{Account: args[1], Setting: pipe.Label})
		}
	case "first":
		if _, err = account.Order(context.Background(), f, args[1], 1); err == nil {
			_, err = Set(context.Background(), f, dial, pipe.SetRequest{Account: args[1], Setting: pipe.Rank})
		}
	}
	return json.NewEncoder(os.Stdout).Encode(struct {
		Error     *fault.Carried
		Recovered bool
	}{fault.Carry(err), recovered})
}

// arenaMachine is the machine that this process is on, and how it reaches the engine.
func arenaMachine() (*folder.Folder, Dialer, error) {
	patience := 4 * time.Second
	if os.Getenv("ARENA_CALM") == "" {
		hurry()
	} else {
		patience, claimLasts = time.Minute, time.Minute // nobody dies
	}
	thisHost = func() string { return os.Getenv("ARENA_HOST") }
	if ahead, err := time.ParseDuration(os.Getenv("ARENA_CLOCK")); err != nil {
		return nil, nil, err
	} else if err := setClock(ahead); err != nil {
		return nil, nil, err
	}
	dial := func(_ context.Context, c Connection) (engine.Engine, error) {
		e, err := etcd.Open(etcd.Config{Endpoints: strings.Split(os.Getenv("ARENA_ENDPOINTS"), ","), CA: []byte(c.CA), Cert: []byte(c.Cert), Key: []byte(c.Key.Reveal())})
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
	}
	return folder.New(folder.Options{Dir: os.Getenv("ARENA_DIR"), HTTPTimeout: patience, Client: oauth.Client{Timeout: arenaPatience}}), dial, nil
}

// atArenaPoints notes how far this process is, where that can be read after its death, and
// kills or stops it at the point that it was told.
func atArenaPoints() {
	phase := os.Getenv("ARENA_PHASE")
	folder.Reached = func(point string) {
		switch point {
		case "K7":
			if now, _ := os.ReadFile(phase); string(now) == "sent" {
				note(phase+".again", "") // the first answer never came
			}
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
			note(phase+".killed", "")
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
