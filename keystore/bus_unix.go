//go:build !windows && !darwin

package keystore

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
	secretservice "github.com/zalando/go-keyring/secret_service"
)

var errNoBus = errors.New("no session bus: DBUS_SESSION_BUS_ADDRESS is not set")

// reachable refuses if the D-Bus library would find no session bus: it would start one with
// dbus-launch, which would stay for ever and have no keychain.
func reachable() error {
	if busFound(os.Getenv("DBUS_SESSION_BUS_ADDRESS"), fmt.Sprintf("/run/user/%d", os.Getuid())) {
		return nil
	}
	return &Error{Cause: ErrUnavailable, Err: errNoBus}
}

// busFound looks in the places of the D-Bus library: the address, then the user's runtime
// folder, whatever XDG_RUNTIME_DIR says.
func busFound(address, runtimeDir string) bool {
	if address != "" && address != "autolaunch:" {
		return true
	}
	if _, err := os.Stat(runtimeDir + "/bus"); err == nil {
		return true
	}
	session, err := os.ReadFile(runtimeDir + "/dbus-session")
	return err == nil && strings.HasPrefix(string(session), "DBUS_SESSION_BUS_ADDRESS=unix:")
}

func busErrorName(err error) string {
	e, _ := errors.AsType[dbus.Error](err)
	return e.Name
}

// quiet only asks a Secret Service that is running, and unlocks nothing.
func quiet(item string) bool {
	if reachable() != nil {
		return false
	}
	s, err := secretservice.NewSecretService()
	if err != nil {
		return false
	}
	running := false
	if err := s.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, serviceName).Store(&running); err != nil || !running {
		return false
	}
	open, locked, err := search(s, map[string]string{"username": item, "service": Service})
	home := keyringOf(append(slices.Clone(open), locked...))
	return err == nil && home != "" && keyringOf(open) == home
}
