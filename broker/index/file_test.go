package index

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/testenv"
)

func TestReadOfMissingIndex(t *testing.T) {
	f := At(filepath.Join(t.TempDir(), "none"))
	if _, err := f.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read = %v, want fs.ErrNotExist", err)
	}
	if _, err := f.LastGood(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LastGood = %v, want fs.ErrNotExist", err)
	}
	if _, err := os.Stat(f.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made the folder: %v", err)
	}
}

func TestFirstUpdateMakesTheIndex(t *testing.T) {
	parent := t.TempDir()
	real, err := filepath.EvalSymlinks(parent)
	must(t, err)
	f := At(filepath.Join(parent, "authferry"))
	must(t, f.Update(patience(t), Durable, func(ix *Index) error {
		if ix.Schema != Schema || !isRandomName(ix.Store) || ix.Path != filepath.Join(real, "authferry") {
			t.Errorf("new index: %+v", ix)
		}
		return nil
	}))
	if runtime.GOOS != "windows" {
		for path, want := range map[string]fs.FileMode{
			f.Dir():                            fs.ModeDir | 0o700,
			filepath.Join(f.Dir(), "locks"):    fs.ModeDir | 0o700,
			f.path():                           0o600,
			lock.Index.In(f.Dir()):             0o600,
			lock.Index.In(f.Dir()) + ".holder": 0o600,
		} {
			info, err := os.Stat(path)
			must(t, err)
			if info.Mode() != want {
				t.Errorf("%s has mode %v, want %v", filepath.Base(path), info.Mode(), want)
			}
		}
	}
	data, err := os.ReadFile(f.path())
	must(t, err)
	if !strings.Contains(string(data), `"accounts":[]`) || !strings.HasSuffix(string(data), "}\n") {
		t.Errorf("index.json is %s", data)
	}
}

func TestFolderOfOneself(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix permissions: Windows folders inherit theirs")
	}
	for _, test := range []struct {
		beside string
		want   fs.FileMode
	}{
		{"", 0o700},
		{"providers.toml", 0o700},
		{"holiday.jpg", 0o755}, // somebody else's folder
	} {
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o755))
		if test.beside != "" {
			must(t, os.WriteFile(filepath.Join(dir, test.beside), nil, 0o600))
		}
		must(t, At(dir).Update(patience(t), Fast, func(*Index) error { return nil }))
		info, err := os.Stat(dir)
		must(t, err)
		if info.Mode().Perm() != test.want {
			t.Errorf("beside %q: folder has mode %v, want %v", test.beside, info.Mode().Perm(), test.want)
		}
	}
}

func TestTwoFoldersShareNoStore(t *testing.T) {
	a, err := newFile(t).Read()
	must(t, err)
	b, err := newFile(t).Read()
	must(t, err)
	if a.Store == b.Store {
		t.Errorf("both have store id %s", a.Store)
	}
}

func TestUpdateKeepsTheVersionBefore(t *testing.T) {
	f := newFile(t)
	before, err := f.Read()
	must(t, err)
	must(t, f.Update(patience(t), Durable, func(ix *Index) error {
		ix.Accounts[0].Generation++
		return nil
	}))
	after, err := f.Read()
	must(t, err)
	last, err := f.LastGood()
	must(t, err)
	if g := after.Accounts[0].Generation; g != 2 {
		t.Errorf("generation %d after the change, want 2", g)
	}
	if g := last.Accounts[0].Generation; g != before.Accounts[0].Generation {
		t.Errorf("generation %d in the backup, want %d", g, before.Accounts[0].Generation)
	}
	if left := tempFiles(t, f); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestUpdateThatWritesNothing(t *testing.T) {
	refused := errors.New("no")
	for name, test := range map[string]struct {
		fn   func(*Index) error
		want error
	}{
		"fn fails":                      {func(ix *Index) error { ix.Accounts = nil; return refused }, refused},
		"no change":                     {func(*Index) error { return nil }, nil},
		"result that Read would refuse": {func(ix *Index) error { ix.Accounts[0].GrantSlot = "../x"; return nil }, ErrCorrupt},
		"account twice":                 {func(ix *Index) error { ix.Accounts = append(ix.Accounts, ix.Accounts[0]); return nil }, ErrCorrupt},
		"time that JSON has no form for": {func(ix *Index) error {
			ix.Accounts[0].AddedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			return nil
		}, errAny},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t)
			before, err := os.Stat(f.path())
			must(t, err)
			err = f.Update(patience(t), Durable, test.fn)
			if !errors.Is(err, test.want) && !(test.want == errAny && err != nil) {
				t.Errorf("Update = %v, want %v", err, test.want)
			}
			after, err := os.Stat(f.path())
			must(t, err)
			if !os.SameFile(before, after) {
				t.Error("index.json was replaced")
			}
			if left := tempFiles(t, f); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

var errAny = errors.New("any error")

func TestPanicInUpdateReleasesTheLock(t *testing.T) {
	f := newFile(t)
	func() {
		defer func() { _ = recover() }()
		_ = f.Update(patience(t), Fast, func(*Index) error { panic("bug") })
	}()
	must(t, f.Update(patience(t), Fast, func(*Index) error { return nil }))
}

// A file that can not be used is refused by everything that reads, and kept.
func TestUnusableFileIsRefusedAndKept(t *testing.T) {
	good, err := os.ReadFile(newFile(t).path())
	must(t, err)
	for name, test := range map[string]struct {
		content string
		want    error
	}{
		"empty":             {"", ErrCorrupt},
		"garbage":           {"\x00\xff garbage", ErrCorrupt},
		"null":              {"null", ErrCorrupt},
		"truncated":         {string(good[:len(good)/2]), ErrCorrupt},
		"followed by more":  {string(good) + "{}", ErrCorrupt},
		"no schema":         {`{"store":"aaaaaaaaaaaaaaaa"}`, ErrCorrupt},
		"newer":             {`{"schema":2,"store":"aaaaaaaaaaaaaaaa","accounts":[]}`, ErrTooNew},
		"newer and other":   {`{"schema":2,"accounts":{"by":"id"},"store":7}`, ErrTooNew},
		"other at schema 1": {`{"schema":1,"accounts":{"by":"id"}}`, ErrCorrupt},
		"time that is none": {`{"schema":1,"store":"aaaaaaaaaaaaaaaa","accounts":[{"added_at":"hunter2"}]}`, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t)
			must(t, os.WriteFile(f.path(), []byte(test.content), 0o600))
			_, readErr := f.Read()
			updateErr := f.Update(patience(t), Durable, func(*Index) error { t.Error("fn was called"); return nil })
			for op, err := range map[string]error{"Read": readErr, "Update": updateErr} {
				e, ok := errors.AsType[*FileError](err)
				if !ok || !errors.Is(err, test.want) || e.Path != f.path() {
					t.Errorf("%s = %v, want %v", op, err, test.want)
				} else if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s quotes the file: %v", op, err)
				}
			}
			data, err := os.ReadFile(f.path())
			must(t, err)
			if string(data) != test.content {
				t.Errorf("the file is now %q", data)
			}
			if _, err := f.LastGood(); err != nil {
				t.Errorf("LastGood = %v", err)
			}
		})
	}
}

func TestByteOrderMarkIsNoDamage(t *testing.T) {
	f := newFile(t)
	data, err := os.ReadFile(f.path())
	must(t, err)
	must(t, os.WriteFile(f.path(), append([]byte("\xef\xbb\xbf"), data...), 0o600))
	_, err = f.Read()
	must(t, err)
	must(t, f.Update(patience(t), Fast, func(ix *Index) error {
		ix.Accounts[0].Generation++
		return nil
	}))
}

func TestHugeFileIsNotRead(t *testing.T) {
	f := newFile(t)
	must(t, os.Truncate(f.path(), maxSize+1))
	if _, err := f.Read(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Read = %v, want ErrCorrupt", err)
	}
}

// A link would let two folders change one file under two locks.
func TestIndexThatIsNoFile(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, target, path string){
		"link":          func(t *testing.T, target, path string) { testenv.Symlink(t, target, path) },
		"dangling link": func(t *testing.T, target, path string) { testenv.Symlink(t, target+"-none", path) },
		"folder":        func(t *testing.T, _, path string) { must(t, os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			f, other := newFile(t), newFile(t)
			want, err := os.ReadFile(other.path())
			must(t, err)
			must(t, os.Remove(f.path()))
			make(t, other.path(), f.path())
			if _, err := f.Read(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Read = %v, want ErrCorrupt", err)
			}
			if err := f.Update(patience(t), Fast, func(*Index) error { return nil }); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Update = %v, want ErrCorrupt", err)
			}
			last, err := f.LastGood()
			must(t, err)
			_, err = f.Mend(patience(t), last)
			must(t, err)
			_, err = f.Read()
			must(t, err)
			got, err := os.ReadFile(other.path())
			must(t, err)
			if string(got) != string(want) {
				t.Errorf("the other folder's index is now %s", got)
			}
		})
	}
}

func TestMendKeepsTheDamagedFile(t *testing.T) {
	f := newFile(t)
	must(t, os.WriteFile(f.path(), []byte("damaged"), 0o600))
	last, err := f.LastGood()
	must(t, err)
	last.Accounts = []Account{newAccount("found again")}
	_, err = f.Mend(patience(t), last)
	must(t, err)

	now, err := f.Read()
	must(t, err)
	if now.Store != last.Store || now.Accounts[0].Label != "found again" {
		t.Errorf("Read = %+v", now)
	}
	kept, err := filepath.Glob(f.path() + ".corrupt-*")
	must(t, err)
	if len(kept) != 1 {
		t.Fatalf("kept %v, want one file", kept)
	}
	if data, _ := os.ReadFile(kept[0]); string(data) != "damaged" {
		t.Errorf("kept %q", data)
	}
	if _, err := f.LastGood(); err != nil {
		t.Errorf("LastGood = %v: the damaged file became the backup", err)
	}
}

func TestMendLeavesANewerFile(t *testing.T) {
	f := newFile(t)
	ix, err := f.LastGood()
	must(t, err)
	must(t, os.WriteFile(f.path(), []byte(`{"schema":99}`), 0o600))
	if _, err := f.Mend(patience(t), ix); !errors.Is(err, ErrTooNew) {
		t.Errorf("Mend = %v, want ErrTooNew", err)
	}
	if data, _ := os.ReadFile(f.path()); string(data) != `{"schema":99}` {
		t.Errorf("the file is now %s", data)
	}
}

// Two menders: the second one leaves what the first one made of it.
func TestMend(t *testing.T) {
	f := newFile(t)
	ix, err := f.LastGood()
	must(t, err)
	must(t, os.WriteFile(f.path(), []byte("damaged"), 0o600))
	for i, label := range []string{"first", "second"} {
		ix.Accounts = []Account{newAccount(label)}
		mended, err := f.Mend(patience(t), ix)
		must(t, err)
		if now, err := f.Read(); err != nil || mended != (i == 0) || now.Accounts[0].Label != "first" {
			t.Errorf("%s: mended %v, %+v, %v", label, mended, now, err)
		}
	}
	must(t, os.Remove(f.path()))
	if mended, err := f.Mend(patience(t), ix); err != nil || !mended {
		t.Errorf("a missing one: %v, %v", mended, err)
	}
}

// A deleted index is not made anew: the items of the one before are found only by its
// store id, which stands in the backup if anywhere, and that is not overwritten.
func TestDeletedIndexIsNotMadeAnew(t *testing.T) {
	for name, leave := range map[string]func(f *File){
		"a backup with an account": func(f *File) {
			must(t, f.Update(patience(t), Fast, func(ix *Index) error { ix.Accounts[0].Generation++; return nil }))
		},
		"that of the first account":   func(*File) {},
		"a backup that can't be used": func(f *File) { must(t, os.WriteFile(f.backupPath(), []byte("{"), 0o600)) },
		"one of a later version":      func(f *File) { must(t, os.WriteFile(f.backupPath(), []byte(`{"schema":9}`), 0o600)) },
	} {
		f := newFile(t)
		leave(f)
		must(t, os.Remove(f.path()))
		before, _ := os.ReadFile(f.backupPath())
		if err := f.Update(patience(t), Fast, func(*Index) error { return nil }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Update = %v, want ErrCorrupt", name, err)
		}
		if after, _ := os.ReadFile(f.backupPath()); string(after) != string(before) {
			t.Errorf("%s: the backup was changed", name)
		}
	}
}

// The backup can be brought up to date; what then damages the index spares it.
func TestBackUp(t *testing.T) {
	f := newFile(t)
	must(t, f.BackUp(patience(t)))
	must(t, os.WriteFile(f.path(), []byte("{"), 0o600))
	if last, err := f.LastGood(); err != nil || len(last.Accounts) != 1 {
		t.Errorf("LastGood = %+v, %v", last, err)
	}
	if err := f.BackUp(patience(t)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("BackUp = %v, want ErrCorrupt", err)
	}
	if last, err := f.LastGood(); err != nil || len(last.Accounts) != 1 {
		t.Errorf("LastGood = %+v, %v: the damaged file became the backup", last, err)
	}
}

func TestStrayTempFilesAreSwept(t *testing.T) {
	f := newFile(t)
	long := time.Now().Add(-time.Hour)
	for range 300 {
		path := f.tempPath()
		must(t, os.WriteFile(path, []byte("{"), 0o600))
		must(t, os.Chtimes(path, long, long))
	}
	young := f.tempPath()
	must(t, os.WriteFile(young, nil, 0o600))
	foreign := filepath.Join(f.Dir(), "notes.tmp")
	must(t, os.WriteFile(foreign, nil, 0o600))
	must(t, os.Chtimes(foreign, long, long))

	must(t, f.Update(patience(t), Fast, func(ix *Index) error {
		ix.Accounts[0].Generation++
		return nil
	}))
	left := tempFiles(t, f)
	if len(left) != 2 {
		t.Errorf("%d temp files left, want the young and the foreign one", len(left))
	}
	for _, path := range []string{young, foreign} {
		testenv.Check(t, testenv.Err(os.Stat(path)))
	}
}

func TestRealPath(t *testing.T) {
	dir := t.TempDir()
	real, err := filepath.EvalSymlinks(dir)
	must(t, err)
	link := filepath.Join(t.TempDir(), "link")
	testenv.Symlink(t, dir, link)
	t.Chdir(filepath.Dir(link))
	for _, path := range []string{dir, link, "link", filepath.Join(dir, "..", filepath.Base(dir))} {
		if got, err := RealPath(path); err != nil || got != real {
			t.Errorf("RealPath(%q) = %q, %v; want %q", path, got, err, real)
		}
	}
	if _, err := RealPath(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("RealPath of a missing folder = %v", err)
	}
}

func TestUpdateWaitsNoLongerThanItsContext(t *testing.T) {
	f := newFile(t)
	l, err := f.acquire(patience(t))
	must(t, err)
	defer l.Release()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err = f.Update(ctx, Fast, func(*Index) error { t.Error("fn was called"); return nil })
	if _, ok := errors.AsType[*lock.TimeoutError](err); !ok {
		t.Errorf("Update = %v, want a LockTimeoutError", err)
	}
}
