package rotation

import (
	"context"
	"errors"
	"os/exec"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
)

const (
	// LimitsCommand is the word that has authferry-share tell the machines of a shared pool
	// of this one's limits, and learn theirs.
	LimitsCommand = "limits"
	// ProbeCommand has it find out whether this machine may probe a held account.
	ProbeCommand = "probe"

	// limitsEvery is how often the machines of a shared pool are asked for limits while it is
	// in use.
	limitsEvery = 30 * time.Second
	// probePatience is how long a caller waits to learn whether it is the one that may probe.
	probePatience = 15 * time.Second
)

// Limits starts a process, for which nobody waits, that exchanges limits with the machines
// that share a. It does so when the last one was limitsEvery ago, and at once if a has a
// hold that they have yet to be told of. An account that isn't shared costs a comparison.
func Limits(f *folder.Folder, idx *index.Index, a *index.Account, atOnce bool) {
	if a.Share == nil {
		return
	}
	now := time.Now()
	id := a.Share.Pool
	if s := idx.SharedPool(id); !atOnce && (s == nil || now.Sub(s.LookedAt).Abs() < limitsEvery) || atOnce && !pool.AnyUntold(a, now) {
		return
	}
	if h, err := f.Holder(lock.Exchange(id)); err == nil && h.State == stateStarted && now.Sub(h.StartedAt).Abs() < limitsEvery {
		return // it was started, and is about to look, or could not be
	}
	l, err := f.TryLock(lock.Exchange(id))
	if err != nil {
		return // whoever has it looks again before it ends
	}
	l.SetHolder(stateStarted)
	l.Release() // the process takes it
	behind(f, LimitsCommand, id)
}

// stateStarted is what the holder of lock.Exchange is shown to be doing until the process has
// taken it.
const stateStarted = "starting to exchange limits"

func behind(f *folder.Folder, args ...string) {
	cmd, err := folder.LastingShare(f, args...)
	if err != nil || startDetached(cmd) != nil {
		return
	}
	go func() { _ = cmd.Wait() }()
}

// MayProbe reports whether this machine is the one, of all that share a, whose caller is let
// through although a is held. While the engine is away, none is. An account that isn't
// shared is this machine's to probe.
func MayProbe(ctx context.Context, f *folder.Folder, a *index.Account) bool {
	if a.Share == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	cmd, err := folder.LastingShare(f, ProbeCommand, a.ID)
	if err != nil || startDetached(cmd) != nil {
		return false
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return false // if it is this machine's after all, the next one is due in its time
	}
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		f.Log.Info("no probe", "account", a.ID, "exit", failed.ExitCode())
	}
	return err == nil
}
