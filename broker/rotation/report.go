package rotation

import "github.com/authferry/authferry/broker/fault"

// report is what a rotator tells the process that waits for it: one line of JSON without
// secrets. The tokens go through the keystore.
type report struct {
	Error *fault.Carried `json:"error,omitempty"`
}

func newReport(err error) report { return report{fault.Carry(err)} }

func (r *report) err() error { return r.Error.Err() }
