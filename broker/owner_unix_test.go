//go:build unix

package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

const somebody = 12345 // a user who is not this one

// give makes path, and what is in it, somebody's.
func give(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, who alone gives folders away")
	}
	testenv.Must(t, filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, somebody, somebody))
	}))
}

// tree is all that is in a folder, with owners and times of change.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	testenv.Must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			uid, _ := atomicfile.Owner(info)
			fmt.Fprintln(&b, path, uid, info.Mode(), info.ModTime().UnixNano(), info.Sys().(*syscall.Stat_t).Ino)
		}
		return err
	}))
	return b.String()
}

// changesOf are commands that write, each by its name.
func changesOf(w *world) map[string]func(*Broker) error {
	ctx := context.Background()
	login := testLogin(w.server.URL, "eve", "at-eve", "rt-eve", time.Hour)
	return map[string]func(*Broker) error{
		"add":    func(b *Broker) error { _, err := account.Add(ctx, b.Folder, login); return err },
		"config": func(b *Broker) error { return folder.ConfigSet(context.Background(), b.Folder, "failover", "false") },
		"provider": func(b *Broker) error {
			return folder.AddProvider(ctx, b.Folder, testProvider(w.server.URL), keystore.Secret{})
		},
		"init": func(b *Broker) error {
			_, err := folder.InitFileKeystore(ctx, b.Folder, filepath.Join(b.Folder.Dir, "new-key"))
			return err
		},
		"login key": func(b *Broker) error {
			_, err := account.LoginKey(ctx, b.Folder, account.LoginRequest{Provider: "openai", Label: "k"}, keystore.NewSecret("sk-1"))
			return err
		},
		"login": func(b *Broker) error {
			_, err := account.Login(ctx, b.Folder, account.LoginRequest{Provider: "openai", ClientID: "c", Flow: account.FlowPaste}, account.Person{})
			return err
		},
	}
}

// In another user's folder (root's, by sudo -E) nothing is made, written or sent, and
// whose it is is said; a token that still lives is handed out.
func TestFolderOfAnother(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	ada, bob := w.add("ada", time.Hour), w.add("bob", -time.Second)
	give(t, w.dir)
	before := tree(t, w.dir)
	if tok, err := w.broker().Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "ada"}}); err != nil || !w.good(tok.AccessToken.Reveal()) {
		t.Errorf("a valid token: %v", err)
	}
	changes := changesOf(w)
	changes["token"] = func(b *Broker) error {
		_, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "bob"}})
		return err
	}
	changes["refresh"] = func(b *Broker) error { _, err := b.Refresh(t.Context(), "ada"); return err }
	changes["rotator"] = func(b *Broker) error { return rotation.Rotate(t.Context(), b.Folder, ada.ID, rotation.Wish{Beyond: 9}) }
	changes["background rotator"] = func(b *Broker) error {
		return rotation.Rotate(t.Context(), b.Folder, ada.ID, rotation.Wish{Beyond: 9, Background: true})
	}
	changes["rename"] = func(b *Broker) error { _, err := account.Rename(t.Context(), b.Folder, "ada", "eva"); return err }
	changes["remove"] = func(b *Broker) error {
		_, err := account.Remove(t.Context(), b.Folder, bob.ID, account.RevokeOwn)
		return err
	}
	changes["migrate"] = func(b *Broker) error {
		_, err := folder.MigrateKeystore(t.Context(), b.Folder, keystore.Keychain)
		return err
	}
	changes["probe"] = func(b *Broker) error {
		s, err := folder.TryKeystore(t.Context(), b.Folder)
		return errors.Join(err, s.Err)
	}
	for name, change := range changes {
		err := change(w.broker())
		if fault.CodeOf(err) != fault.Fenced || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Errorf("%s: %v", name, err)
		}
		if e, _ := errors.AsType[*fault.Error](err); e == nil || !slices.Equal(e.Next, []fault.Remedy{{Do: fault.AsOwner, Name: "#12345", Path: w.dir}}) {
			t.Errorf("%s: the hint is %+v", name, e)
		}
	}
	wants(t, doctor.Examine(t.Context(), w.broker().Folder, true), doctor.Fail, "belongs to user 12345")
	if now := tree(t, w.dir); now != before {
		t.Errorf("the folder was\n%s\nand is\n%s", before, now)
	}
	if l := w.server.Ledger(); l.TokenRequests != 0 {
		t.Errorf("%d requests", l.TokenRequests)
	}
}

// Nor is a folder made in another user's; in root's it is.
func TestNewFolderOfAnother(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	home := filepath.Join(t.TempDir(), "home")
	testenv.Must(t, os.MkdirAll(filepath.Join(home, ".config"), 0o755))
	give(t, home)
	before := tree(t, home)
	for name, change := range changesOf(w) {
		if err := change(New(Options{Dir: filepath.Join(home, ".config", "authferry"), Keystore: keystore.File, KeyFile: keyFileOf(w)})); fault.CodeOf(err) != fault.Fenced {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := folder.InitFileKeystore(t.Context(), folder.New(Options{Dir: filepath.Join(t.TempDir(), "authferry")}), filepath.Join(home, "key")); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("a key file: %v", err)
	}
	if now := tree(t, home); now != before {
		t.Errorf("it was\n%s\nand is\n%s", before, now)
	}
}

// What root left in a user's folder is named, with the command that gives it back.
func TestDoctorOfFilesOfAnother(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", time.Hour)
	give(t, w.dir)
	index := filepath.Join(w.dir, "index.json")
	testenv.Must(t, os.Chown(index, 0, 0))
	next := func() []fault.Remedy {
		for _, c := range doctor.Examine(t.Context(), w.broker().Folder, false) {
			if c.Name == "owner" && strings.Contains(c.Message, index+" belongs to another user than 12345") {
				return c.Next
			}
		}
		return nil
	}
	if got, want := next(), (fault.Remedy{Do: fault.GiveBack, Name: "12345:12345", Path: w.dir}); len(got) != 1 || got[0] != want {
		t.Errorf("got %v, want %v", got, want)
	}
	// In a home folder nothing else is touched.
	testenv.Must(t, os.Mkdir(filepath.Join(w.dir, "Documents"), 0o755))
	if got, want := next(), (fault.Remedy{Do: fault.GiveBack, Name: "12345:12345", Path: index}); len(got) != 1 || got[0] != want {
		t.Errorf("in a home folder: got %v, want %v", got, want)
	}
}
