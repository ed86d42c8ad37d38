package fault

import (
	"errors"
	"time"
)

// Carried is an Error on its way to another process, as JSON without a secret.
type Carried struct {
	Code    Code      `json:"code"`
	Message string    `json:"message"`
	Next    []Remedy  `json:"next,omitempty"`
	RetryAt time.Time `json:"retry_at,omitzero"`
	Own     bool      `json:"own,omitempty"`
}

// Carry makes it of err; nil of nil.
func Carry(err error) *Carried {
	if err == nil {
		return nil
	}
	c := &Carried{Code: CodeOf(err), Message: err.Error()}
	if e, ok := errors.AsType[*Error](err); ok {
		c.Next, c.RetryAt, c.Own = e.Next, e.RetryAt, e.Own
	}
	return c
}

// Err is the *Error that was carried; nil of nil.
func (c *Carried) Err() error {
	if c == nil {
		return nil
	}
	return &Error{Code: c.Code, Message: c.Message, Next: c.Next, RetryAt: c.RetryAt, Own: c.Own}
}
