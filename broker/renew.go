package broker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
)

// renewal is one caller's wish for a newer token.
type renewal struct {
	beyond   int  // rotate unless the stored generation is already higher
	rejected bool // because the API refused the token of that generation

	// person: somebody asks for it, who may always try again: a back-off of our own
	// does not count. now: nor does one that the provider asked for, once in forcedEvery.
	// A failure after since is adopted: it came while this one was waited for.
	person, now bool
	since       time.Time
}

// forcedEvery is how often a person may have a refresh of an account sent whatever the
// provider asked for.
const forcedEvery = 30 * time.Second

// setsAside reports that r sets aside the back-off after f.
func (r renewal) setsAside(f *index.Failure) bool {
	return (r.now || r.person && !f.Stated) && !f.At.After(r.since)
}

// rejectedEvery is how often a refused token may force a refresh of an account:
// an API that refuses everything must not become a storm at the token endpoint.
const rejectedEvery = 30 * time.Second

// renew returns when the account's generation is beyond r.beyond, or with the
// reason why it is not. Only the process that holds the gate starts a rotator;
// everybody else waits for the gate and adopts what came of it.
func (b *Broker) renew(ctx context.Context, a *index.Account, r renewal) error {
	b.Waiting()
	gate, err := b.Lock(ctx, lock.Gate(a.ID))
	switch {
	case err == nil:
		defer gate.Release()
	case fault.CodeOf(err) != fault.LockTimeout:
		return err
	default:
		// Held by somebody who is stopped, say. The gate only spares work; if
		// nobody rotates, it is in nobody's way.
		if b.Rotating(a.ID) {
			return err
		}
	}
	// A rotator that is killed is started again once: what it left behind is
	// what the next one recovers from.
	for try := 0; ; try++ {
		settled, err := b.settled(ctx, a.ID, r)
		if settled || err != nil {
			return err
		}
		report, err := b.runRotator(ctx, a, r)
		if err != nil {
			return err
		}
		if report != nil {
			return report.err()
		}
		if try == 1 {
			return fault.Errorf(fault.Internal, "the refresh of account %s was killed twice", fault.Quote(a.Label)).Try(fault.Remedy{Do: fault.Refresh, Account: a.ID})
		}
	}
}

// settled reports that no request is needed (the generation is there) or allowed
// (back-off, dead mark), judged by the index: it is asked under the gate, where a
// herd passes one by one. Only that a login is needed is not taken from the index.
func (b *Broker) settled(ctx context.Context, id string, r renewal) (bool, error) {
	idx, err := b.Read()
	if err != nil {
		return false, err
	}
	a, err := folder.Living(idx, id)
	if err != nil {
		return false, err
	}
	if a.Generation > r.beyond && a.AccessSlot != "" {
		return true, nil
	}
	err = refusal(a, r, time.Now())
	switch {
	case fault.CodeOf(err) == fault.LoginNeeded && b.outdated(ctx, idx, a):
		return false, nil // the rotator rolls the index forward
	case err != nil && r.rejected && a.Failure == nil && b.Rotating(a.ID):
		return false, nil // a caller that was killed left it behind; the next rotator waits for it
	}
	return false, err
}

// outdated reports that the login which the index knows to be dead, or to have no
// refresh token, is not the one that is stored: a renewal was cut off before its
// commit, or the index came from a backup.
func (b *Broker) outdated(ctx context.Context, idx *index.Index, a *index.Account) bool {
	if a.Dead != a.Fingerprint && !pool.RejectedForGood(a) {
		return false
	}
	o, err := b.Open(idx)
	if err != nil {
		return false
	}
	stored, err := o.Grants(ctx, a.ID)
	return err == nil && stored.Best != nil && (record.Fingerprint(stored.Best.Secret()) != a.Fingerprint || stored.Best.TokenFingerprint != a.TokenFingerprint)
}

// revive looks whether a login of the selection is outdated, and has that rolled
// forward, which is done even if the refresh then fails. It is asked when all of them
// seem to be dead.
func (b *Broker) revive(ctx context.Context, idx *index.Index, sel pool.Selected) (revived bool) {
	for _, a := range sel.Members(idx) {
		if !a.Disabled && b.outdated(ctx, idx, a) {
			_ = b.renew(ctx, a, renewal{beyond: a.Generation})
			return true
		}
	}
	return false
}

// refusal is the reason why a rotation of a may not be tried now, or nil.
func refusal(a *index.Account, r renewal, now time.Time) error {
	switch {
	case a.Fingerprint == "" || a.Fingerprint == a.Dead:
		return pool.LoginNeeded(a)
	case r.now && now.Sub(a.ForcedAt).Abs() < forcedEvery && !(a.Failure != nil && a.Failure.At.After(r.since)):
		e := fault.Errorf(fault.ProviderRefused, "account %s: --now sent a refresh %v ago; the next one waits", fault.Quote(a.Label), now.Sub(a.ForcedAt).Abs().Round(time.Second))
		e.RetryAt = a.ForcedAt.Add(forcedEvery)
		return e
	case pool.BackingOff(a, now) && !r.setsAside(a.Failure):
		return failureError(a)
	case r.rejected && now.Sub(a.RejectedAt) < rejectedEvery && a.RejectedAt.Before(now.Add(record.ClockTolerance)):
		e := fault.Errorf(fault.ProviderRefused, "account %s: the API refused two tokens in a row; the next refresh for that reason waits", fault.Quote(a.Label))
		e.RetryAt, e.Own = a.RejectedAt.Add(rejectedEvery), true
		return e
	}
	return nil
}

// failureError tells of the recorded failure of a's last rotation.
func failureError(a *index.Account) *fault.Error {
	code := fault.ProviderRefused
	if a.Failure.Class == classUnsent || a.Failure.Class == classUnknown {
		code = fault.ProviderUnreachable
	}
	e := fault.Errorf(code, "account %s: %s; the login is kept", fault.Quote(a.Label), a.Failure.Message)
	if a.Failure.Class == classMisconfigured {
		e.Next = []fault.Remedy{{Do: fault.ShowProvider, Provider: a.Provider}}
		if a.Resource != "" { // its authorization server may have forgotten authferry's client
			next := pool.Renewal(a)
			next.Name = "register"
			e.Next = []fault.Remedy{next}
		}
	}
	e.RetryAt, e.Own = a.Failure.NextTryAt, a.Failure.Class == classRefused
	return e
}

// refreshBehind starts a rotation that nobody waits for, unless one is under
// way, was started a moment ago, or is not allowed now. Nothing that goes wrong
// here is the caller's concern: it has a valid token.
func (b *Broker) refreshBehind(a *index.Account) {
	now := time.Now()
	if refusal(a, renewal{}, now) != nil || a.UnderWay() != nil {
		return
	}
	if n := len(a.Intents); n > 0 && now.Sub(a.Intents[n-1].StartedAt) > recoveryWindow {
		return // outcome unknown and past every grace: probe it when it is needed
	}
	const justStarted = 2 * time.Second
	h, err := b.Holder(lock.Gate(a.ID))
	if err == nil && h.State == stateBehind && now.Sub(h.StartedAt).Abs() < justStarted {
		return
	}
	gate, err := b.TryLock(lock.Gate(a.ID))
	if err != nil {
		return
	}
	defer gate.Release()
	if b.Rotating(a.ID) {
		return
	}
	gate.SetHolder(stateBehind)
	if cmd, err := b.rotatorCommand(a.ID, renewal{beyond: a.Generation}, true); err == nil {
		if startDetached(cmd) == nil {
			go func() { _ = cmd.Wait() }()
		}
	}
}

// stateBehind is what the gate's holder says it is doing.
const stateBehind = "refreshing in the background"

// runRotator starts a rotator and waits for its report, at most as long as the
// caller waits for a provider; the rotator goes on without it. A nil report
// means that the rotator died.
func (b *Broker) runRotator(ctx context.Context, a *index.Account, r renewal) (*report, error) {
	cmd, err := b.rotatorCommand(a.ID, r, false)
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fault.Errorf(fault.Internal, "no pipe for the refresh").Because(err)
	}
	defer read.Close()
	cmd.Stdout = write
	err = startDetached(cmd)
	_ = write.Close()
	if err != nil {
		return nil, fault.Errorf(fault.Internal, "the refresh could not be started").Because(pool.NotStarted{Err: err})
	}
	go func() { _ = cmd.Wait() }()

	type answer struct {
		r   *report
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(read).ReadBytes('\n')
		if err != nil {
			answers <- answer{}
			return
		}
		var rep report
		err = json.Unmarshal(line, &rep)
		answers <- answer{&rep, err}
	}()
	defer b.Progress(folder.Step{Doing: b.forRotation(a), Until: time.Now().Add(b.HTTPTimeout)})()
	timer := time.NewTimer(b.HTTPTimeout)
	defer timer.Stop()
	select {
	case got := <-answers:
		return got.r, got.err
	case <-ctx.Done():
		return nil, fault.Errorf(fault.Cancelled, "interrupted; the refresh goes on in the background and its result is kept").Because(ctx.Err())
	case <-timer.C:
		return nil, b.tooSlow(a.ID)
	}
}

// tooSlow says what the rotator is still busy with.
func (b *Broker) tooSlow(id string) error {
	h, _ := b.Holder(lock.Rotation(id))
	if h.State == folder.Storing {
		return fault.Errorf(fault.KeystoreTimeout, "new tokens are there, but the keystore has not taken them yet; process %d goes on trying", h.PID).
			Try(fault.Remedy{Do: fault.ShowKeystore})
	}
	e := fault.Errorf(fault.ProviderUnreachable, "the provider did not answer within %v; the refresh goes on in the background and its result is kept", b.HTTPTimeout)
	return e.Try(fault.Remedy{Do: fault.WithVariable, Name: "AUTHFERRY_HTTP_TIMEOUT", Value: "2m"})
}

// report is what a rotator tells the process that waits for it: one line of
// JSON, without a secret. The tokens themselves go by the keystore.
type report struct {
	Error *reportError `json:"error,omitempty"`
}

type reportError struct {
	Code    fault.Code     `json:"code"`
	Message string         `json:"message"`
	Next    []fault.Remedy `json:"next,omitempty"`
	RetryAt time.Time      `json:"retry_at,omitzero"`
	Own     bool           `json:"own,omitempty"` // Error.own
}

func newReport(err error) report {
	if err == nil {
		return report{}
	}
	r := reportError{Code: fault.CodeOf(err), Message: err.Error()}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		r.Next, r.RetryAt, r.Own = e.Next, e.RetryAt, e.Own
	}
	return report{Error: &r}
}

func (r *report) err() error {
	if r.Error == nil {
		return nil
	}
	return &fault.Error{Code: r.Error.Code, Message: r.Error.Message, Next: r.Error.Next, RetryAt: r.Error.RetryAt, Own: r.Error.Own}
}

// RotateCommand is the hidden command that this program runs itself with.
const RotateCommand = "rotate"

// rotatorCommand is this same binary in a session of its own: the death of the
// caller, of its process group or of its terminal must not cost a grant.
func (b *Broker) rotatorCommand(id string, r renewal, behind bool) (*exec.Cmd, error) {
	self := b.Self
	if self == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fault.Errorf(fault.Internal, "the path of authferry itself is not known").Because(err)
		}
		self = exe
	}
	args := []string{"authferry", RotateCommand, id, strconv.Itoa(r.beyond)}
	if r.rejected {
		args = append(args, "--rejected")
	}
	if behind {
		args = append(args, "--background")
	}
	if r.person {
		args = append(args, "--person")
	}
	if r.now {
		args = append(args, "--now")
	}
	// No context: it is to outlive the caller.
	cmd := exec.CommandContext(context.Background(), self) // #nosec G204 -- this program itself
	cmd.Args = args
	cmd.Dir = b.Dir
	cmd.Env = append(os.Environ(), "AUTHFERRY_DIR="+b.Dir, "AUTHFERRY_LOCK_TIMEOUT="+b.LockTimeout.String(),
		"AUTHFERRY_KEYCHAIN_TIMEOUT="+b.KeychainTimeout.String())
	if b.KeyFile != "" {
		abs, err := filepath.Abs(b.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("AUTHFERRY_KEY_FILE: %w", err)
		}
		cmd.Env = append(cmd.Env, "AUTHFERRY_KEY_FILE="+abs)
	}
	return cmd, nil
}
