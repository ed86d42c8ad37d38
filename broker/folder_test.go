package broker

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/testenv"
)

// D5: an index restored from a backup does not bring a spent refresh token back.
func TestIndexFromBackup(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	forgetting(w, func() {
		if got := w.ask(); got.err != nil {
			t.Fatal(got.err)
		}
	})
	got := w.ask()
	if got.err != nil || !w.good(got.token) {
		t.Fatalf("%+v", got)
	}
	if l := w.server.Ledger(); len(l.Reuse) != 0 || w.account(a.ID).Generation != 2 {
		t.Errorf("%d reuses, generation %d", len(l.Reuse), w.account(a.ID).Generation)
	}
}

// A folder that was copied does not rotate while the original is there; one
// that was moved does.
func TestCopiedFolder(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", -time.Second)
	original := w.dir
	w.dir = t.TempDir() + "/copy"
	copyFolder(t, original, w.dir)
	if got := w.ask(); got.err == nil || got.err.Code != fault.Fenced {
		t.Fatalf("in the copy: %+v", got)
	}
	if n := sends(w.server.Ledger()); n != 0 {
		t.Error("the copy spent a refresh token")
	}
	removeAll(t, original)
	if got := w.ask(); got.err != nil || !w.good(got.token) {
		t.Fatalf("moved: %+v", got)
	}
}

// D1, D2: an index that can't take the intent is found before the token leaves
// this machine.
func TestIndexThatCantBeChanged(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", -time.Second)
	l, err := lock.TryAcquire(filepath.Join(w.dir, "locks", "index.lock"))
	testenv.Must(t, err)
	w.env = append(w.env, "AUTHFERRY_LOCK_TIMEOUT=300ms")
	got := w.ask()
	l.Release()
	if got.err == nil || got.err.Code != fault.LockTimeout {
		t.Errorf("%+v", got)
	}
	if n := sends(w.server.Ledger()); n != 0 {
		t.Errorf("the refresh token was sent %d times", n)
	}
	w.env = nil
	if got := w.ask(); got.err != nil || !w.good(got.token) {
		t.Errorf("afterwards: %+v", got)
	}
}

// A folder that was only moved keeps its logins, also where doctor can't write its
// new path down because another process holds the index.
func TestDoctorOfMovedFolder(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	was := w.dir
	w.dir = filepath.Join(t.TempDir(), "moved")
	move(t, was, w.dir)
	l, err := lock.TryAcquire(lock.Index.In(w.dir))
	testenv.Must(t, err)
	b := New(Options{Dir: w.dir, LockTimeout: 100 * time.Millisecond})
	// It would get the lock where it tries a second time.
	reported := doctor.Examine(t.Context(), b.Folder, false)
	timer := time.AfterFunc(150*time.Millisecond, l.Release)
	defer timer.Stop()
	checks := doctor.Examine(t.Context(), b.Folder, true)
	for _, c := range append(reported, checks...) {
		if c.Name == "copy" {
			t.Errorf("%+v", c)
		}
	}
	l.Release()
	w.doctor(true, doctor.OK, "index and keystore agree")
	w.refreshes(a.ID)
	w.healthy()
}

// AUTHFERRY_DIR may be a home folder: what doctor mends there is authferry's.
func TestDoctorInAHomeFolder(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", time.Hour)
	old := time.Now().Add(-30 * time.Minute) // the vault sweeps after an hour by itself
	write := func(name string) string {
		path := filepath.Join(w.dir, name)
		testenv.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testenv.Must(t, os.WriteFile(path, nil, 0o644))
		testenv.Must(t, os.Chtimes(path, old, old))
		return path
	}
	theirs := []string{write("holiday.jpg"), write("draft.tmp"), write("my.toml"), write("public/page.html"), write("vault/diary.age"), write("vault/notes.tmp")}
	ours := []string{filepath.Join(w.dir, "index.json"), write("index.json.bak")}
	if runtime.GOOS != "windows" {
		for _, path := range append(ours, w.dir) {
			testenv.Must(t, os.Chmod(path, 0o755))
		}
	}
	left := []string{write(".authferry-x.tmp"), write("vault/.authferry-y.tmp")}
	w.doctor(false, doctor.Warning, "a killed process left "+left[0]+", "+left[1])
	w.doctor(true, doctor.OK, "removed what a killed process left: "+left[0]+", "+left[1])
	w.healthy()
	mode := func(path string) fs.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
			return 0
		}
		return info.Mode().Perm()
	}
	if runtime.GOOS == "windows" {
		return // what doctor removed, the sentences above say
	}
	for _, path := range append(theirs, filepath.Join(w.dir, "public"), w.dir) {
		if mode(path)&0o044 == 0 {
			t.Errorf("%s was closed", path)
		}
	}
	for _, path := range append(ours, filepath.Join(w.dir, "locks")) {
		if mode(path)&0o077 != 0 {
			t.Errorf("%s is still open", path)
		}
	}
}
