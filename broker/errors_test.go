package broker

import (
	"context"
	"errors"
	"testing"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// What a person reads says a thing once, in words for people; what a program asks
// is still there.
func TestKeystoreErrors(t *testing.T) {
	cause := func(cause, err error) error {
		return &keystore.Error{Op: "read", Name: "store/account/access:a", Cause: cause, Err: err}
	}
	for _, row := range []struct {
		err  error
		code fault.Code
		text string
	}{
		{cause(keystore.ErrUnavailable, errors.New("dial unix /run/bus: no such file")), fault.KeystoreUnavailable, "no keystore is reachable from this session: dial unix /run/bus: no such file"},
		{cause(keystore.ErrLocked, nil), fault.KeystoreLocked, "the keychain is locked; nothing was changed"},
		{cause(keystore.ErrTimeout, context.DeadlineExceeded), fault.KeystoreTimeout, "the keychain did not answer in time; nothing was lost"},
		{cause(keystore.ErrTimeout, context.Canceled), fault.Cancelled, "interrupted while waiting for the keystore; nothing was lost"},
	} {
		got := record.Fault(row.err)
		if fault.CodeOf(got) != row.code || got.Error() != row.text {
			t.Errorf("%v: %s, %q", row.err, fault.CodeOf(got), got)
		}
		if !errors.Is(got, errors.Unwrap(got)) || !errors.Is(got, row.err) {
			t.Errorf("%q does not lead to its cause", got)
		}
	}
}
