package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/testenv"
)

// A second daemon for the same home is found; one for another home is not, nor one that
// has ended.
func TestKeyringDaemons(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_DATA_HOME", "")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("needs sleep: install coreutils")
	}
	program, err := os.ReadFile(sleep)
	testenv.Must(t, err)
	path := filepath.Join(t.TempDir(), "gnome-keyring-daemon")
	testenv.Must(t, os.WriteFile(path, program, 0o700))
	before := keyringDaemons()
	var started []int
	for _, at := range []string{home, home, "/another/home"} {
		cmd := exec.CommandContext(t.Context(), path, "60")
		cmd.Env = []string{"HOME=" + at}
		testenv.Must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		started = append(started, cmd.Process.Pid)
	}
	ended := exec.CommandContext(t.Context(), path, "0")
	ended.Env = []string{"HOME=" + home}
	testenv.Must(t, ended.Start())
	t.Cleanup(func() { _ = ended.Wait() })
	for state := ""; state != "Z"; time.Sleep(time.Millisecond) { // nobody has waited for it yet
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", ended.Process.Pid))
		testenv.Must(t, err)
		_, rest, _ := strings.Cut(string(stat), ") ")
		state = rest[:1]
	}
	now := keyringDaemons()
	if !slices.Contains(now, started[0]) || !slices.Contains(now, started[1]) || slices.Contains(now, started[2]) || slices.Contains(now, ended.Process.Pid) {
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
