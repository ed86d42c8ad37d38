package keystore

import (
	"encoding/base64"
	"errors"
	"strings"
	"syscall"

	"github.com/zalando/go-keyring"
)

// classify returns the Err… value for an error of go-keyring on goos. The library has two
// errors of its own; the others come from the systems.
func classify(goos string, err error) error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own.Cause
	}
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, keyring.ErrSetDataTooBig):
		return ErrTooBig
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		return ErrUnavailable
	}
	switch goos {
	case "darwin":
		return classifySecurity(err)
	case "windows":
		return classifyCredentialManager(err)
	}
	return classifySecretService(err, busErrorName(err))
}

// classifySecurity uses the exit status of /usr/bin/security, the low byte of an OSStatus
// (Security/SecBase.h), because the library drops its text.
func classifySecurity(err error) error {
	if _, cut := errors.AsType[base64.CorruptInputError](err); cut {
		return ErrDamaged // the item exists, and is not one that the library writes
	}
	exit, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err)
	if !ok {
		return ErrUnavailable // the program didn't start
	}
	switch exit.ExitCode() {
	case 44: // errSecItemNotFound -25300
		return ErrNotFound
	case 36, // errSecInteractionNotAllowed -25308: locked, and it can't prompt (SSH)
		29: // errSecInteractionRequired -25315
		return ErrLocked
	case -1, // it was killed
		37, // errSecNoDefaultKeychain -25307
		50, // errSecNoSuchKeychain -25294
		53: // errSecNotAvailable -25291
		return ErrUnavailable
	}
	return ErrDenied // 51: wrong password, 128: the person cancelled, 52: read-only
}

// Windows system error codes (winerror.h) of CredRead, CredWrite and CredDelete.
const (
	invalidParameter   syscall.Errno = 87
	noSuchLogonSession syscall.Errno = 1312 // a network logon, as over SSH, has no credentials
	notSupported       syscall.Errno = 50
	serviceNotActive   syscall.Errno = 1062
	elementNotFound    syscall.Errno = 1168
	rpcUnavailable     syscall.Errno = 1722
	badStubData        syscall.Errno = 1783 // the value is over the limit
)

func classifyCredentialManager(err error) error {
	code, _ := errors.AsType[syscall.Errno](err)
	switch code {
	case elementNotFound:
		return ErrNotFound
	case noSuchLogonSession, notSupported, serviceNotActive, rpcUnavailable:
		return ErrUnavailable
	case invalidParameter, badStubData:
		return ErrTooBig
	}
	return ErrDenied
}

// vanished reports that another process replaced or deleted the item after the library had
// found it. Searching again tells which.
func vanished(err error) bool {
	switch busErrorName(err) {
	case "org.freedesktop.Secret.Error.NoSuchObject",
		"org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.DBus.Error.UnknownMethod":
		return true
	}
	return false
}

// classifySecretService uses the name of the D-Bus error, which is empty if the error came
// from this side of the bus. If an unlock was dismissed or impossible, the library's error
// is text that names the collection or item; "default" in it means that there is no
// collection.
func classifySecretService(err error, name string) error {
	switch name {
	case "":
	case "org.freedesktop.Secret.Error.IsLocked":
		return ErrLocked
	case "org.freedesktop.Secret.Error.NoSuchObject":
		return ErrNotFound // deleted between the search and the read
	case "org.freedesktop.DBus.Error.Timeout", "org.freedesktop.DBus.Error.TimedOut":
		return ErrTimeout
	case "org.freedesktop.Secret.Error.NoSession",
		"org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
		"org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Disconnected",
		"org.freedesktop.DBus.Error.NoServer", "org.freedesktop.DBus.Error.UnknownObject",
		"org.freedesktop.DBus.Error.LimitsExceeded", // too many connections for now
		"org.freedesktop.DBus.Error.UnknownMethod", "org.freedesktop.DBus.Error.UnknownInterface":
		return ErrUnavailable
	default:
		if strings.HasPrefix(name, "org.freedesktop.DBus.Error.Spawn.") {
			return ErrUnavailable
		}
		return ErrDenied
	}
	if text := err.Error(); strings.Contains(text, "failed to unlock correct collection") {
		if strings.Contains(text, "/aliases/default") {
			return ErrUnavailable
		}
		return ErrLocked
	}
	return ErrUnavailable
}
