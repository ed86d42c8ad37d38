package rotation

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
)

// start starts a rotator and waits for its report, no longer than the caller waits for a
// provider; the rotator goes on after that. A nil report means that the rotator died.
func start(ctx context.Context, f *folder.Folder, a *index.Account, w Wish) (*report, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fault.Errorf(fault.Internal, "no pipe for the refresh").Because(err)
	}
	defer read.Close()
	if err := launch(f, a, w, write); err != nil {
		return nil, err
	}

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
	defer f.Progress(folder.Step{Doing: busyWith(f, a), Until: time.Now().Add(f.HTTPTimeout)})()
	timer := time.NewTimer(f.HTTPTimeout)
	defer timer.Stop()
	select {
	case got := <-answers:
		return got.r, got.err
	case <-ctx.Done():
		return nil, fault.Errorf(fault.Cancelled, "interrupted; the refresh goes on in the background and its result is kept").Because(ctx.Err())
	case <-timer.C:
		return nil, TooSlow(f, a.ID)
	}
}

// TooSlow is the error for a caller that has waited long enough: it says what the rotator
// is still doing.
func TooSlow(f *folder.Folder, id string) error {
	h, _ := f.Holder(lock.Rotation(id))
	if h.State == folder.Storing {
		return fault.Errorf(fault.KeystoreTimeout, "the new tokens are here, but the keystore has not accepted them yet; process %d keeps trying", h.PID).
			Try(fault.Remedy{Do: fault.ShowKeystore})
	}
	if idx, err := f.Read(); err == nil {
		if a := idx.Account(id); a != nil && a.Share != nil && a.Share.Sight != nil && a.Share.Machine != "" {
			return fault.Errorf(fault.WaitingForMachine, "account %s is being refreshed by machine %s, which was not done within %s; only that machine knows whether the provider has answered", fault.Quote(a.Label), fault.Quote(a.Share.Machine), humantime.Span(f.HTTPTimeout)).
				ItsOwn().Try(fault.Remedy{Do: fault.Again}, fault.Remedy{Do: fault.ShareRecover, Account: pool.Reference(idx, a)})
		}
	}
	e := fault.Errorf(fault.ProviderUnreachable, "the provider did not answer within %s; the refresh goes on in the background and its result is kept", humantime.Span(f.HTTPTimeout))
	return e.Try(fault.Remedy{Do: fault.WithVariable, Name: "AUTHFERRY_HTTP_TIMEOUT", Value: "2m"})
}

// InProcess is set by tests in which nobody dies. It is given each rotator of an account that
// is not shared, to run it beside the caller: a process costs more than a rotation.
var InProcess func(dir string, rotate func())

// launch starts a rotator of a, in a session of its own: the death of the caller, its process
// group or its terminal must not lose the login. It reports to out, unless that is nil, which
// is closed here.
func launch(f *folder.Folder, a *index.Account, w Wish, out *os.File) error {
	if InProcess != nil && a.Share == nil {
		w.Since = time.Now()
		InProcess(f.Dir, func() {
			defer out.Close()
			own := folder.New(folder.Options{Dir: f.Dir, KeyFile: f.KeyFile, KeychainTimeout: f.KeychainTimeout, LockTimeout: f.LockTimeout})
			_ = json.NewEncoder(out).Encode(newReport(Rotate(context.Background(), own, a.ID, w)))
		})
		return nil
	}
	defer out.Close()
	args := []string{Command, a.ID, strconv.Itoa(w.Beyond)}
	if w.Rejected {
		args = append(args, "--rejected")
	}
	if w.Background {
		args = append(args, "--background")
	}
	if w.Person {
		args = append(args, "--person")
	}
	if w.Now {
		args = append(args, "--now")
	}
	cmd, err := folder.Rotator(f, a, args...)
	if err != nil {
		return err
	}
	if out != nil {
		cmd.Stdout = out
	}
	if err := startDetached(cmd); err != nil {
		return fault.Errorf(fault.Internal, "the refresh could not be started").Because(pool.NotStarted{Err: err})
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

// busyWith says what the rotator of a is doing.
func busyWith(f *folder.Folder, a *index.Account) func() string {
	path := lock.Rotation(a.ID).In(f.File().Dir())
	return func() string {
		if h, err := lock.ReadHolder(path); err == nil && h.State == folder.Storing {
			return "waiting for the keystore to take the new tokens of account " + fault.Quote(a.Label)
		}
		return fmt.Sprintf("waiting for %s to refresh account %s", a.Provider, fault.Quote(a.Label))
	}
}

// report is what a rotator tells the process that waits for it: one line of JSON without
// secrets. The tokens go through the keystore.
type report struct {
	Error *fault.Carried `json:"error,omitempty"`
}

func newReport(err error) report { return report{fault.Carry(err)} }

func (r *report) err() error { return r.Error.Err() }

// Refuse is what a rotator that can't begin reports. It returns err.
func Refuse(out io.Writer, err error) error {
	return errors.Join(err, json.NewEncoder(out).Encode(newReport(err)))
}
