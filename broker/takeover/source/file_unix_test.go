//go:build unix

package source

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// What is no regular file is neither waited for nor read without end.
func TestNoRegularFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "auth.json")
	testenv.Must(t, syscall.Mkfifo(pipe, 0o600))
	link := filepath.Join(t.TempDir(), "auth.json")
	testenv.Must(t, os.Symlink("/dev/zero", link))
	for path, want := range map[string]string{pipe: "it is a pipe", link: "it is a device", "/dev/null": "it is a device"} {
		if _, err := Open(openCode, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAnotherUsersFile(t *testing.T) {
	path := put(t, "auth.json", `{"a":{"type":"api","key":"1"}}`)
	if err := os.Chown(path, os.Geteuid()+1, -1); err != nil {
		t.Skipf("needs root: a file is given to another user: %v", err)
	}
	if _, err := Open(openCode, path); err == nil || !strings.Contains(err.Error(), "it belongs to another user") {
		t.Errorf("%v", err)
	}
}
