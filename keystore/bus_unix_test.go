//go:build !windows && !darwin

package keystore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// C5: without a bus, none may be started.
func TestBusFound(t *testing.T) {
	empty, socket, session, odd := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(socket, "bus"):           "",
		filepath.Join(session, "dbus-session"): "DBUS_SESSION_BUS_ADDRESS=unix:abstract=/dbus-x\n",
		filepath.Join(odd, "dbus-session"):     "nothing\n",
	} {
		testenv.Must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	for _, tt := range []struct {
		address, dir string
		want         bool
	}{
		{"unix:path=/gone", empty, true},
		{"", empty, false},
		{"autolaunch:", empty, false},
		{"", socket, true},
		{"autolaunch:", socket, true},
		{"", session, true},
		{"", odd, false},
		{"", filepath.Join(empty, "missing"), false},
	} {
		if got := busFound(tt.address, tt.dir); got != tt.want {
			t.Errorf("busFound(%q, %q) = %v", tt.address, tt.dir, got)
		}
	}
}
