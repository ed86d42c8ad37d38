package setup

import "fmt"

// Refusal is why a file is left as it is, and what a person can do about it.
type Refusal struct {
	Why  string
	Edit string // an edit or a command, in one line; may be empty
}

func (r *Refusal) Error() string { return r.Why }

func refuse(why string, args ...any) *Refusal { return &Refusal{Why: fmt.Sprintf(why, args...)} }

func (r *Refusal) instead(edit string, args ...any) *Refusal {
	r.Edit = fmt.Sprintf(edit, args...)
	return r
}
