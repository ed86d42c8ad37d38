package atomicfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/testenv"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o755, 0o600} {
		data := []byte(mode.String())
		testenv.Must(t, atomicfile.Write(path, data, mode, nil))
		expect(t, path, string(data))
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode() != mode {
			t.Errorf("%v: the file's mode is %v (%v)", mode, info.Mode(), err)
		}
	}
	testenv.Check(t, atomicfile.SyncFolder(dir))
	alone(t, dir)
}

// One that reads all the while sees the old content or the new one.
func TestWriteIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100_000) }
	write := func(i int) {
		testenv.Check(t, atomicfile.Write(path, content(i), 0o600, nil))
	}
	write(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 50 {
			write(i)
			time.Sleep(time.Millisecond) // on Windows one that reads all the time lets nobody write
		}
	}()
	for {
		var data []byte
		err := atomicfile.Patiently(func() (err error) { data, err = os.ReadFile(path); return err }, atomicfile.InUse)
		if err != nil || len(data) == 0 || !bytes.Equal(data, content(int(data[0]))) {
			t.Fatalf("%d bytes (%v)", len(data), err)
		}
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// What fails changes nothing and leaves nothing behind.
func TestWriteRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	testenv.Must(t, os.WriteFile(path, []byte("old"), 0o600))
	changed := errors.New("changed")
	if err := atomicfile.Write(path, []byte("new"), 0o600, func() error { return changed }); !errors.Is(err, changed) {
		t.Errorf("a refused write: %v", err)
	}
	expect(t, path, "old")
	alone(t, dir)

	folder := filepath.Join(dir, "folder")
	testenv.Must(t, os.MkdirAll(filepath.Join(folder, "in"), 0o700))
	if err := atomicfile.Write(folder, []byte("new"), 0o600, nil); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, atomicfile.Prefix+"*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if err := atomicfile.Write(filepath.Join(dir, "none", "file"), nil, 0o600, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in no folder: %v", err)
	}
}

func TestWriteReplacesLink(t *testing.T) {
	dir := t.TempDir()
	path, outside := filepath.Join(dir, "file"), filepath.Join(t.TempDir(), "mine")
	testenv.Must(t, os.WriteFile(outside, []byte("mine"), 0o600))
	testenv.Symlink(t, outside, path)
	testenv.Must(t, atomicfile.Write(path, []byte("new"), 0o600, nil))
	expect(t, path, "new")
	expect(t, outside, "mine")
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	name := func(s string) string { return filepath.Join(dir, s) }
	old := time.Now().Add(-time.Hour)
	for _, s := range []string{"a.tmp", ".authferry-1", ".authferry-1.tmp", ".authferry-2.tmp"} {
		testenv.Must(t, errors.Join(os.WriteFile(name(s), nil, 0o600), os.Chtimes(name(s), old, old)))
	}
	now := time.Now()
	testenv.Must(t, os.Chtimes(name(".authferry-2.tmp"), now, now))
	testenv.Must(t, os.Mkdir(name(".authferry-3.tmp"), 0o700))
	// By the clock of this machine, which is hours ahead here, all of them are old.
	synctest.Test(t, func(*testing.T) {
		time.Sleep(time.Until(now.Round(0).Add(24 * time.Hour)))
		atomicfile.Sweep(dir, 30*time.Minute)
	})
	for s, want := range map[string]bool{"a.tmp": true, ".authferry-1": true, ".authferry-1.tmp": false, ".authferry-2.tmp": true, ".authferry-3.tmp": true} {
		if _, err := os.Lstat(name(s)); (err == nil) != want {
			t.Errorf("%s is there: %v", s, err == nil)
		}
	}
}

func TestPatiently(t *testing.T) {
	busy := errors.New("in use")
	for _, test := range []struct {
		failures int
		err      error
		tries    int
		waited   time.Duration
		want     error
	}{
		{0, busy, 1, 0, nil},
		{1, busy, 2, time.Millisecond, nil},
		{9, busy, 10, 511 * time.Millisecond, nil},
		{99, busy, 10, 511 * time.Millisecond, busy},
		{99, fs.ErrPermission, 1, 0, fs.ErrPermission},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, tries := time.Now(), 0
			err := atomicfile.Patiently(func() error {
				if tries++; tries <= test.failures {
					return test.err
				}
				return nil
			}, func(err error) bool { return errors.Is(err, busy) })
			if waited := time.Since(began); !errors.Is(err, test.want) || tries != test.tries || waited != test.waited {
				t.Errorf("%d failures with %v: %v after %d tries and %v", test.failures, test.err, err, tries, waited)
			}
		})
	}
}

func expect(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s has %q (%v), want %q", path, got, err, want)
	}
}

func alone(t *testing.T, dir string) {
	t.Helper()
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("left behind: %v (%v)", all, err)
	}
}
