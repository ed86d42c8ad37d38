package rotation

import (
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
)

// report is what a rotator tells the process that waits for it: one line of JSON without
// secrets. The tokens go through the keystore.
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
