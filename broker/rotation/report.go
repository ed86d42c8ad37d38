package rotation

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/authferry/authferry/broker/fault"
)

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
