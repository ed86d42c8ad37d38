package broker

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A second daemon for the same home is found, one for another home is not.
func TestKeyringDaemons(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_DATA_HOME", "")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("needs sleep: install coreutils")
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "gnome-keyring-daemon")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	before := keyringDaemons()
	var started []int
	for _, at := range []string{home, home, "/another/home"} {
		cmd := exec.CommandContext(t.Context(), path, "60")
		cmd.Env = []string{"HOME=" + at}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		started = append(started, cmd.Process.Pid)
	}
	now := keyringDaemons()
	if !slices.Contains(now, started[0]) || !slices.Contains(now, started[1]) || slices.Contains(now, started[2]) {
		t.Errorf("started %v: found %v, before %v", started, now, before)
	}
}

func TestNetworkFileSystems(t *testing.T) {
	if name := networkFileSystem("/proc"); name != "" {
		t.Errorf("/proc is on %s", name)
	}
	for _, magic := range []uint32{unix.NFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC} {
		if networkFileSystems[magic] == "" {
			t.Errorf("%#x has no name", magic)
		}
	}
}
