package keystore

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/zalando/go-keyring"
)

// exitStatus is what *exec.ExitError is to its caller.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
func (e exitStatus) ExitCode() int { return int(e) }

func TestClassify(t *testing.T) {
	unlock := func(path string) error {
		return fmt.Errorf("failed to unlock correct collection '/org/freedesktop/secrets/%s'", path)
	}
	for _, tt := range []struct {
		goos string
		err  error
		want error
	}{
		{"linux", keyring.ErrNotFound, ErrNotFound},
		{"windows", keyring.ErrNotFound, ErrNotFound},
		{"darwin", keyring.ErrNotFound, ErrNotFound},
		{"windows", keyring.ErrSetDataTooBig, ErrTooBig},
		{"darwin", fmt.Errorf("set: %w", keyring.ErrSetDataTooBig), ErrTooBig},
		{"plan9", keyring.ErrUnsupportedPlatform, ErrUnavailable},
		{"linux", &Error{Cause: ErrUnavailable, Err: io.EOF}, ErrUnavailable},

		{"linux", unlock("collection/login"), ErrLocked},
		{"linux", unlock("collection/login/17"), ErrLocked},
		{"linux", unlock("collection/Default_5fkeyring"), ErrLocked},
		{"freebsd", unlock("collection/login"), ErrLocked},
		{"linux", unlock("aliases/default"), ErrUnavailable},
		{"linux", &net.OpError{Op: "dial", Net: "unix", Err: os.ErrNotExist}, ErrUnavailable},
		{"linux", &exec.Error{Name: "dbus-launch", Err: exec.ErrNotFound}, ErrUnavailable},
		{"linux", io.EOF, ErrUnavailable},

		{"darwin", exitStatus(36), ErrLocked},
		{"darwin", fmt.Errorf("set: %w", exitStatus(36)), ErrLocked},
		{"darwin", exitStatus(29), ErrLocked},
		{"darwin", exitStatus(44), ErrNotFound},
		{"darwin", exitStatus(51), ErrDenied},
		{"darwin", exitStatus(128), ErrDenied},
		{"darwin", exitStatus(37), ErrUnavailable},
		{"darwin", exitStatus(50), ErrUnavailable},
		{"darwin", base64.CorruptInputError(3), ErrDamaged},
		{"darwin", exitStatus(1), ErrDenied},
		{"darwin", exitStatus(-1), ErrUnavailable}, // as os/exec has it of one that a signal ended
		{"darwin", &os.PathError{Op: "fork/exec", Path: "/usr/bin/security", Err: os.ErrNotExist}, ErrUnavailable},

		{"windows", syscall.Errno(1168), ErrNotFound},
		{"windows", syscall.Errno(1312), ErrUnavailable},
		{"windows", syscall.Errno(1722), ErrUnavailable},
		{"windows", syscall.Errno(1783), ErrTooBig},
		{"windows", syscall.Errno(5), ErrDenied},
		{"windows", errors.New("something else"), ErrDenied},
	} {
		if got := classify(tt.goos, tt.err); got != tt.want {
			t.Errorf("%s: %v is %q, want %q", tt.goos, tt.err, got, tt.want)
		}
	}
}

func TestClassifyBusErrors(t *testing.T) {
	for name, want := range map[string]error{
		"org.freedesktop.Secret.Error.IsLocked":        ErrLocked,
		"org.freedesktop.Secret.Error.NoSuchObject":    ErrNotFound,
		"org.freedesktop.Secret.Error.NoSession":       ErrUnavailable,
		"org.freedesktop.DBus.Error.ServiceUnknown":    ErrUnavailable,
		"org.freedesktop.DBus.Error.NameHasNoOwner":    ErrUnavailable,
		"org.freedesktop.DBus.Error.NoReply":           ErrUnavailable,
		"org.freedesktop.DBus.Error.UnknownMethod":     ErrUnavailable,
		"org.freedesktop.DBus.Error.Spawn.ChildExited": ErrUnavailable,
		"org.freedesktop.DBus.Error.TimedOut":          ErrTimeout,
		"org.freedesktop.DBus.Error.AccessDenied":      ErrDenied,
		"org.freedesktop.DBus.Error.Failed":            ErrDenied,
	} {
		if got := classifySecretService(errors.New("text"), name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
