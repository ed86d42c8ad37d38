package rotation

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/authferry/authferry/broker/fault"
)

// Whatever a rotator writes into its report pipe, the caller makes an Error of it
// that has a code.
func FuzzRotatorReport(f *testing.F) {
	for _, s := range []string{`{}`, `{"error":{"code":"login_needed","message":"m","retry_at":"2026-11-23T17:00:00Z"}}`, `{"error":{}}`, `{"error":7}`, "null", "", "{"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var r report
		if json.Unmarshal(line, &r) != nil {
			return
		}
		if err := r.err(); err != nil {
			if _, ok := errors.AsType[*fault.Error](err); !ok {
				t.Fatalf("%T", err)
			}
		}
	})
}
