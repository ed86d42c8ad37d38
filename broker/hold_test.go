package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// when has do run the first time that this process comes to a point of its work.
func when(t *testing.T, point string, do func()) {
	t.Helper()
	folder.Reached = func(p string) {
		if p == point && do != nil {
			now := do
			do = nil
			now()
		}
	}
	t.Cleanup(func() { folder.Reached = func(string) {} })
}

func absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was made anew (%v)", path, err)
	}
}

// emptied is what cleaners and rsync --delete do to a folder of locks.
var emptied = map[string]func(*testing.T, string){
	"emptied": func(t *testing.T, dir string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "locks", "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no locks (%v)", err)
		}
		for _, path := range files {
			removeAll(t, path)
		}
	},
	"removed": func(t *testing.T, dir string) { t.Helper(); removeAll(t, filepath.Join(dir, "locks")) },
}

// While a rotation is at the provider, its locks are deleted: whoever comes next waits
// for the process that the intent names, and one request is sent.
func TestLocksDeletedInTheWindow(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a system where a file that is locked can be deleted")
	}
	for how, empty := range emptied {
		for _, command := range []string{"token", "remove", "rotate"} {
			t.Run(how+" then "+command, func(t *testing.T) {
				w := newWorldAlone(t, brokertest.Config{Rotation: brokertest.Strict})
				a := w.add("ada", -time.Second)
				next := w.command()
				switch command {
				case "remove":
					next.Args = []string{"authferry", "remove", "ada"}
				case rotation.Command:
					next.Args = []string{"authferry", rotation.Command, a.ID, "1"}
				}
				done := make(chan answer, 1)
				when(t, "K7", func() {
					empty(t, w.dir)
					go func() { done <- w.run(next) }()
					// Long enough for it to do harm; no longer is waited for what must not be.
					select {
					case got := <-done:
						t.Errorf("the next one did not wait: %+v", got)
					case <-time.After(300 * time.Millisecond):
					}
				})
				testenv.Check(t, rotation.Rotate(t.Context(), w.broker().Folder, a.ID, rotation.Wish{Beyond: 1}))
				if got := <-done; got.err != nil || command == "token" && !w.good(got.token) {
					t.Errorf("the next one: %+v", got)
				}
				if l := w.server.Ledger(); len(l.Reuse) > 0 || l.Refreshes("ada") != 1 {
					t.Errorf("%d refreshes, %d reuses", l.Refreshes("ada"), len(l.Reuse))
				}
			})
		}
	}
}

// A rotator whose lock is deleted before it sends anything sends nothing, and begins
// again: somebody else may hold the next one.
func TestLockDeletedBeforeTheSend(t *testing.T) {
	w := newWorldAlone(t, brokertest.Config{Rotation: brokertest.Strict})
	a := w.add("ada", -time.Second)
	b := w.broker()
	var other *lock.Lock
	when(t, "K5", func() {
		path := lock.Rotation(a.ID).In(b.Folder.File().Dir())
		if err := os.Remove(path); err != nil {
			t.Skipf("needs a system where a file that is locked can be deleted: %v", err)
		}
		var err error
		if other, err = lock.TryAcquire(path); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(50*time.Millisecond, func() {
			if n := w.server.Refreshes("ada"); n != 0 {
				t.Errorf("%d requests under a lock that another one holds", n)
			}
			other.Release()
		})
	})
	testenv.Check(t, rotation.Rotate(t.Context(), b.Folder, a.ID, rotation.Wish{Beyond: 1}))
	if l := w.server.Ledger(); len(l.Reuse) > 0 || l.Refreshes("ada") != 1 || w.only().Generation != 2 {
		t.Errorf("%d refreshes, generation %d", l.Refreshes("ada"), w.only().Generation)
	}
}

// The folder goes away while a rotation is at the provider. What comes is kept where
// the folder is, or until it is back; nothing is made in its place.
func TestFolderGoneInTheWindow(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a system where a folder that is in use can be moved")
	}
	for name, test := range map[string]struct {
		before, gone func(w *world, aside string)
		back         func(w *world, aside string) // a moment later; nil: it stays as it is
		after        func(w *world, aside string)
	}{
		"moved, and back later": {
			gone: func(w *world, aside string) { move(w.t, w.dir, aside) },
			back: func(w *world, aside string) { absent(w.t, w.dir); move(w.t, aside, w.dir) },
		},
		"moved, and back afterwards": {
			gone: func(w *world, aside string) {
				if runtime.GOOS != "linux" {
					w.t.Skip("needs a system that tells where a folder was moved to")
				}
				move(w.t, w.dir, aside)
			},
			after: func(w *world, aside string) { absent(w.t, w.dir); move(w.t, aside, w.dir) },
		},
		"moved, and a link to it in its place": {
			gone: func(w *world, aside string) {
				move(w.t, w.dir, aside)
				testenv.Must(w.t, os.Symlink(aside, w.dir))
			},
		},
		"deleted, and back from a copy": {
			before: func(w *world, aside string) { copyFolder(w.t, w.dir, aside) },
			gone:   func(w *world, _ string) { removeAll(w.t, w.dir) },
			back:   func(w *world, aside string) { absent(w.t, w.dir); copyFolder(w.t, aside, w.dir) },
		},
		"moved, and a copy in its place": {
			before: func(w *world, aside string) { copyFolder(w.t, w.dir, aside+".copy") },
			gone: func(w *world, aside string) {
				move(w.t, w.dir, aside)
				copyFolder(w.t, aside+".copy", w.dir)
			},
		},
		"its vault is moved, and back later": {
			gone: func(w *world, aside string) { move(w.t, filepath.Join(w.dir, "vault"), aside) },
			back: func(w *world, aside string) {
				absent(w.t, filepath.Join(w.dir, "vault"))
				move(w.t, aside, filepath.Join(w.dir, "vault"))
			},
		},
		"its vault is deleted": {
			gone: func(w *world, _ string) { removeAll(w.t, filepath.Join(w.dir, "vault")) },
		},
		"its index is deleted, and back from a copy": {
			before: func(w *world, aside string) { copyFolder(w.t, w.dir, aside) },
			gone: func(w *world, _ string) {
				removeAll(w.t, filepath.Join(w.dir, "index.json"))
				removeAll(w.t, filepath.Join(w.dir, "index.json.bak"))
			},
			back: func(w *world, aside string) {
				absent(w.t, filepath.Join(w.dir, "index.json"))
				data, err := os.ReadFile(filepath.Join(aside, "index.json"))
				if err == nil {
					err = os.WriteFile(filepath.Join(w.dir, "index.json"), data, 0o600)
				}
				testenv.Must(w.t, err)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldAlone(t, brokertest.Config{Rotation: brokertest.Strict})
			a := w.add("ada", -time.Second)
			aside := filepath.Join(t.TempDir(), "aside")
			if test.before != nil {
				test.before(w, aside)
			}
			returned := make(chan bool, 1)
			when(t, "K11", func() {
				test.gone(w, aside)
				if test.back == nil {
					returned <- true
					return
				}
				time.AfterFunc(250*time.Millisecond, func() { test.back(w, aside); returned <- true })
			})
			testenv.Must(t, rotation.Rotate(t.Context(), w.broker().Folder, a.ID, rotation.Wish{Beyond: 1}))
			<-returned
			if test.after != nil {
				test.after(w, aside)
			}
			if got := w.account(a.ID); got.Generation != 2 {
				t.Errorf("generation %d", got.Generation)
			}
			if tok, err := w.broker().Token(t.Context(), TokenRequest{}); err != nil || !w.good(tok.AccessToken.Reveal()) {
				t.Errorf("afterwards: %v", err)
			}
			if err := rotation.Rotate(t.Context(), w.broker().Folder, a.ID, rotation.Wish{Beyond: 2}); err != nil {
				t.Errorf("the next refresh: %v", err)
			}
			w.noneLost()
		})
	}
}

// A login whose code was exchanged goes with its folder, or waits for it, as a rotation
// does.
func TestFolderGoneInLogin(t *testing.T) {
	for name, test := range map[string]struct {
		before, gone, back func(w *world, aside string)
		afterwards         bool // it comes back when the login has ended
	}{
		"deleted, and back from a copy": {
			before: func(w *world, aside string) { copyFolder(w.t, w.dir, aside) },
			gone:   func(w *world, _ string) { removeAll(w.t, w.dir) },
			back:   func(w *world, aside string) { copyFolder(w.t, aside, w.dir) },
		},
		"moved, and back later": {
			gone: func(w *world, aside string) { move(w.t, w.dir, aside) },
			back: func(w *world, aside string) { move(w.t, aside, w.dir) },
		},
		"moved, and back afterwards": {
			gone:       func(w *world, aside string) { move(w.t, w.dir, aside) },
			back:       func(w *world, aside string) { move(w.t, aside, w.dir) },
			afterwards: true,
		},
	} {
		for _, renewed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, renewed %v", name, renewed), func(t *testing.T) {
				if runtime.GOOS == "windows" && test.before == nil || runtime.GOOS != "linux" && test.afterwards {
					t.Skip("needs a system where a folder that is in use can be moved, or that tells where to")
				}
				w := newWorldAlone(t, brokertest.Config{})
				w.knows(func(*oauth.Provider) {})
				if renewed {
					w.mustLogin("ada@example.com", account.LoginRequest{Provider: "sim"})
				}
				aside := filepath.Join(t.TempDir(), "aside")
				back := func() { absent(t, w.dir); test.back(w, aside) }
				var moving sync.WaitGroup
				t.Cleanup(moving.Wait)
				when(t, "K21", func() {
					if test.before != nil {
						test.before(w, aside)
					}
					test.gone(w, aside)
					if !test.afterwards {
						moving.Go(func() { time.Sleep(250 * time.Millisecond); back() })
					}
				})
				l, err := w.login("ada@example.com", account.LoginRequest{Provider: "sim"})
				if moving.Wait(); test.afterwards {
					back()
				}
				if err != nil || l.Renewed != renewed {
					t.Fatalf("%+v, %v", l, err)
				}
				w.refreshes(l.Account.ID)
			})
		}
	}
}

// What has its tokens elsewhere too gives up, and makes no folder with half of them.
func TestFolderGoneInOtherWork(t *testing.T) {
	w := newWorldAlone(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	w.kept(at(dir), "ada")
	aside := filepath.Join(t.TempDir(), "aside")
	store.onSet = func(string) { // the manifest of the next one
		store.onSet = nil
		copyFolder(t, dir, aside)
		removeAll(t, dir)
	}
	if _, err := addTo(w, at(dir), "bob"); !errors.Is(err, index.ErrGone) {
		t.Errorf("import: %v", err)
	}
	absent(t, dir)
	for point, do := range map[string]func() error{
		"K19": func() error {
			_, err := account.Remove(t.Context(), at(dir).Folder, "ada", account.RevokeNever)
			return err
		},
		"K20": func() error { _, err := folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.File); return err },
	} {
		copyFolder(t, aside, dir)
		when(t, point, func() { removeAll(t, dir) })
		if err := do(); !errors.Is(err, index.ErrGone) {
			t.Errorf("at %s: %v", point, err)
		}
		absent(t, dir)
	}
}
