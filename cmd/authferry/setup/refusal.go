package setup

import (
	"errors"
	"fmt"
)

// ErrNoHosts is wrapped by Plan's error if the client is set up by host and the chosen
// account's tokens may not be sent to any.
var ErrNoHosts = errors.New("this account may send its token to no host yet (no --api-origin)")

// Refusal says why a file is left as it is, and what a person can do about it.
type Refusal struct {
	Why  string
	Edit string // what to do by hand, in words; may be empty
	Run  string // a command that helps; may be empty
}

func (r *Refusal) Error() string {
	if r.Edit == "" {
		return r.Why
	}
	return r.Why + ": " + r.Edit
}

func refuse(why string, args ...any) *Refusal { return &Refusal{Why: fmt.Sprintf(why, args...)} }

func (r *Refusal) instead(edit string, args ...any) *Refusal {
	r.Edit = fmt.Sprintf(edit, args...)
	return r
}

func (r *Refusal) run(command string) *Refusal {
	r.Run = command
	return r
}
