package keystore

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"filippo.io/age/armor"
	"github.com/authferry/authferry/testenv"
)

const phrase = "correct horse battery staple"

// cheaply makes scrypt take no time.
func cheaply(t testing.TB) {
	t.Helper()
	before := workFactor
	workFactor = 2
	t.Cleanup(func() { workFactor = before })
}

// session gives the test a session's folder of its own, and a sealed key file.
func session(t *testing.T) (run, keyFile string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: a session has no folder of its own on Windows")
	}
	cheaply(t)
	run = t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", run)
	keyFile = filepath.Join(t.TempDir(), "key.age")
	testenv.Must(t, InitSealedKeyFile(keyFile, NewSecret(phrase)))
	return run, keyFile
}

func TestUnlock(t *testing.T) {
	run, keyFile := session(t)
	vault := filepath.Join(t.TempDir(), "vault")
	if err := InitSealedKeyFile(keyFile, NewSecret(phrase)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made again: %v", err)
	}
	if _, err := OpenFile(vault, keyFile); !errors.Is(err, ErrLocked) {
		t.Errorf("opened while locked: %v", err)
	}
	for _, wrong := range []string{"", "x"} {
		if _, _, err := Unlock(keyFile, NewSecret(wrong), time.Hour); !errors.Is(err, ErrDenied) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if _, err := UnlockedUntil(keyFile); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	until, _, err := Unlock(keyFile, NewSecret(phrase), time.Hour)
	testenv.Must(t, err)
	if got, err := UnlockedUntil(keyFile); err != nil || !got.Equal(until) || time.Until(got) > time.Hour {
		t.Errorf("until %v, %v", got, err)
	}
	store, err := OpenFile(vault, keyFile)
	testenv.Must(t, err)
	testenv.Must(t, store.Set(t.Context(), "name", NewSecret("value")))
	left, err := filepath.Glob(filepath.Join(run, "authferry", "*"))
	if err != nil || len(left) != 1 {
		t.Fatalf("%v, %v", left, err)
	}
	if info, err := os.Stat(left[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(left[0])); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for range 2 {
		testenv.Check(t, testenv.Err(Lock()))
	}
	if _, err := OpenFile(vault, keyFile); !errors.Is(err, ErrLocked) {
		t.Errorf("opened after Lock: %v", err)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if _, err := Lock(); !errors.Is(err, ErrNoSession) {
		t.Errorf("locked without a folder to look in: %v", err)
	}
}

// reseal gives the key file a new passphrase, as `age -d` and `age -p` do.
func reseal(t *testing.T, keyFile, from, to string) {
	t.Helper()
	sealed, err := os.ReadFile(keyFile)
	testenv.Must(t, err)
	key, err := openKey(sealed, NewSecret(from))
	testenv.Must(t, err)
	if sealed, err = sealKey(key, NewSecret(to)); err != nil {
		t.Fatal(err)
	}
	testenv.Must(t, os.WriteFile(keyFile, sealed, 0o600))
}

func TestLockLeavesNoKey(t *testing.T) {
	for name, after := range map[string]func(t *testing.T, run, keyFile string){
		"a new passphrase": func(t *testing.T, _, keyFile string) { reseal(t, keyFile, phrase, "another") },
		"a new passphrase, unlocked": func(t *testing.T, _, keyFile string) {
			reseal(t, keyFile, phrase, "another")
			if _, _, err := Unlock(keyFile, NewSecret("another"), time.Hour); err != nil {
				t.Fatal(err)
			}
		},
		"the key file is gone": func(t *testing.T, _, keyFile string) {
			testenv.Must(t, os.Remove(keyFile))
		},
		"an unlock was killed": func(t *testing.T, run, _ string) {
			testenv.Must(t, os.WriteFile(filepath.Join(run, Service, ".authferry-1.tmp"), []byte("key"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			run, keyFile := session(t)
			if _, _, err := Unlock(keyFile, NewSecret(phrase), time.Hour); err != nil {
				t.Fatal(err)
			}
			after(t, run, keyFile)
			if removed, err := Lock(); err != nil || removed == 0 {
				t.Errorf("%d removed, %v", removed, err)
			}
			if left, err := os.ReadDir(filepath.Join(run, Service)); err != nil || len(left) != 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// What others could have put in the folder's place may lead to anything.
func TestLockFollowsNoLink(t *testing.T) {
	run, _ := session(t)
	other := filepath.Join(t.TempDir(), "mine.key")
	testenv.Must(t, errors.Join(os.WriteFile(other, nil, 0o600), os.Symlink(filepath.Dir(other), filepath.Join(run, Service))))
	if _, err := Lock(); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
	testenv.Check(t, testenv.Err(os.Stat(other)))
}

// The key of a file that was since sealed anew ends with its time all the same.
func TestKeyOfOldPassphraseEnds(t *testing.T) {
	run, keyFile := session(t)
	if _, _, err := Unlock(keyFile, NewSecret(phrase), -time.Hour); err != nil {
		t.Fatal(err)
	}
	reseal(t, keyFile, phrase, "another")
	if _, err := OpenFile(t.TempDir(), keyFile); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	DropOver(func(string) (func(), error) { return func() {}, nil })
	if left, err := os.ReadDir(filepath.Join(run, Service)); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A call that finds a key whose time is over must not take away the one that an
// unlock puts in its place meanwhile.
func TestExpiryLeavesNewKey(t *testing.T) {
	run, keyFile := session(t)
	unlock := func(span time.Duration) {
		t.Helper()
		if _, _, err := Unlock(keyFile, NewSecret(phrase), span); err != nil {
			t.Fatal(err)
		}
	}
	unlock(-time.Hour)
	if _, err := OpenFile(t.TempDir(), keyFile); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	DropOver(func(string) (func(), error) { return nil, errors.New("an unlock is under way") })
	if left, err := os.ReadDir(filepath.Join(run, Service)); err != nil || len(left) != 1 {
		t.Errorf("removed without the lock that keeps an unlock away: %v, %v", left, err)
	}
	DropOver(func(dir string) (func(), error) {
		if dir != filepath.Join(run, Service) {
			t.Errorf("to hold: %s", dir)
		}
		unlock(time.Hour)
		return func() {}, nil
	})
	if _, err := OpenFile(t.TempDir(), keyFile); err != nil {
		t.Errorf("the new key is gone: %v", err)
	}
	DropOver(func(string) (func(), error) {
		t.Error("asked to wait for nothing")
		return nil, errors.ErrUnsupported
	})
}

// A folder of the session that is not this user's is told apart from a key file
// that can't be used.
func TestForeignSession(t *testing.T) {
	_, keyFile := session(t)
	elsewhere := t.TempDir()
	folder := func(run string) string { return filepath.Join(run, Service) }
	foreign := map[string]func(run string) error{
		"a link": func(run string) error { return os.Symlink(elsewhere, folder(run)) },
		"a file": func(run string) error { return os.WriteFile(folder(run), nil, 0o600) },
		"open to others": func(run string) error {
			return errors.Join(os.Mkdir(folder(run), 0o700), os.Chmod(folder(run), 0o777))
		},
	}
	if os.Geteuid() == 0 { // who alone gives folders away, and needs no rights
		foreign["in another user's"] = func(run string) error { return os.Chown(run, 54321, -1) }
		foreign["another user's"] = func(run string) error {
			return errors.Join(os.Mkdir(folder(run), 0o700), os.Chown(folder(run), 54321, -1))
		}
	} else {
		foreign["closed"] = func(run string) error { return os.Chmod(run, 0) }
		foreign["read-only"] = func(run string) error { return os.Chmod(run, 0o500) }
	}
	for name, spoil := range foreign {
		t.Run(name, func(t *testing.T) {
			run := t.TempDir()
			t.Setenv("XDG_RUNTIME_DIR", run)
			testenv.Must(t, spoil(run))
			t.Cleanup(func() { _ = os.Chmod(run, 0o700) })
			if _, err := MakeSessionFolder(); !errors.Is(err, ErrNoSession) {
				t.Errorf("made: %v", err)
			}
			if _, _, err := Unlock(keyFile, NewSecret(phrase), time.Hour); !errors.Is(err, ErrNoSession) {
				t.Errorf("unlocked: %v", err)
			}
			if name == "read-only" {
				return // there may be no key in it, and that is all
			}
			if _, err := OpenFile(t.TempDir(), keyFile); !errors.Is(err, ErrNoSession) || !errors.Is(err, ErrLocked) {
				t.Errorf("opened: %v", err)
			}
			if _, err := Lock(); name != "open to others" && !errors.Is(err, ErrNoSession) {
				t.Errorf("locked: %v", err)
			}
			if left, err := os.ReadDir(elsewhere); err != nil || len(left) != 0 {
				t.Errorf("followed: %v, %v", left, err)
			}
		})
	}
}

// What lies in the session's folder counts only if nobody else could have put it
// there, if its time isn't over, and for the very key file that it was made of.
func TestUnlockedIsTrustedOnlyIf(t *testing.T) {
	run, keyFile := session(t)
	if _, _, err := Unlock(keyFile, NewSecret(phrase), time.Hour); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(run, "authferry")
	all, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	key := all[0]
	content, err := os.ReadFile(key)
	testenv.Must(t, err)
	mode := func(path string, to fs.FileMode) func() error { return func() error { return os.Chmod(path, to) } }
	for name, spoil := range map[string]func() error{
		"others may read the key":     mode(key, 0o640),
		"others may enter the folder": mode(dir, 0o711),
		"a link": func() error {
			return errors.Join(os.Rename(key, key+".away"), os.Symlink(key+".away", key))
		},
		"its time is over": func() error {
			return os.WriteFile(key, bytes.Replace(content, []byte(untilPrefix+"2"), []byte(untilPrefix+"1"), 1), 0o600)
		},
		"without a time": func() error { return os.WriteFile(key, content[bytes.IndexByte(content, '\n')+1:], 0o600) },
		"no key":         func() error { return os.WriteFile(key, []byte(untilPrefix+"2999-01-01T00:00:00Z\n"), 0o600) },
		"another's key": func() error {
			other := filepath.Join(t.TempDir(), "other.age")
			return errors.Join(InitSealedKeyFile(other, NewSecret(phrase)), os.Rename(other, keyFile))
		},
	} {
		t.Run(name, func(t *testing.T) {
			sealed, err := os.ReadFile(keyFile)
			testenv.Must(t, err)
			if _, err := OpenFile(t.TempDir(), keyFile); err != nil {
				t.Fatalf("before: %v", err)
			}
			testenv.Must(t, spoil())
			if _, err := OpenFile(t.TempDir(), keyFile); err == nil {
				t.Error("it was trusted")
			} else if strings.Contains(err.Error(), "AGE-SECRET") {
				t.Error("the error holds the key")
			}
			testenv.Must(t, errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700), os.WriteFile(key, content, 0o600), os.WriteFile(keyFile, sealed, 0o600)))
		})
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if _, err := OpenFile(t.TempDir(), keyFile); !errors.Is(err, ErrLocked) || !errors.Is(err, ErrNoSession) {
		t.Errorf("without a session: %v", err)
	}
}

func TestMemoryFolder(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux: elsewhere nothing is known to be in memory")
	}
	mounts, err := os.ReadFile("/proc/mounts")
	testenv.Must(t, err)
	if memoryFolder("/proc") {
		t.Error("/proc passes for memory that a key can be kept in")
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "tmpfs" && !memoryFolder(f[1]) {
			t.Errorf("%s is a tmpfs", f[1])
		}
	}
}

// The sealed key file is age's own form, both ways.
func TestAgeOpensSealedKeyFile(t *testing.T) {
	script, err := exec.LookPath("script")
	if err != nil {
		t.Skip("needs script: install bsdutils")
	}
	if _, err := exec.LookPath("age"); err != nil {
		t.Skip("needs age: install age")
	}
	_, keyFile := session(t)
	cmd := exec.CommandContext(t.Context(), script, "-qec", "age -d "+keyFile, os.DevNull) // age asks at a terminal
	cmd.Stdin = strings.NewReader(phrase + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "AGE-SECRET-KEY-1") {
		t.Errorf("%v: %d bytes", err, len(out))
	}
}

// What is sealed with a passphrase costs whoever guesses it a second and 256 MB a
// try: 2^18 rounds of scrypt. (The other tests make it cheap.)
func TestGuessIsDear(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.age")
	testenv.Must(t, InitSealedKeyFile(path, NewSecret(phrase)))
	sealed, err := os.Open(path)
	testenv.Must(t, err)
	defer sealed.Close()
	text, err := io.ReadAll(armor.NewReader(sealed))
	testenv.Must(t, err)
	header, _, _ := strings.Cut(string(text), "\n---")
	if !regexp.MustCompile(`^age-encryption\.org/v1\n-> scrypt \S{22} 18\n\S+$`).MatchString(header) {
		t.Errorf("its header: %q", header)
	}
}

// dear finds work factors that take long; they are known to be within the bounds.
var dear = regexp.MustCompile(` (1[5-9]|20)\n`)

// Whatever stands in a key file, sealed or not, or in the session's folder: it
// yields a key or an error, and the error quotes nothing of it. A sealed one that
// others made opens with its passphrase or not at all.
func FuzzKeyFile(f *testing.F) {
	cheaply(f)
	const canary = "AGE-SECRET-KEY-1CANARY"
	plain := "# created: 2026-11-23T17:00:00Z\nAGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n"
	sealed, err := sealKey([]byte(plain), NewSecret(phrase))
	testenv.Must(f, err)
	for _, seed := range []string{
		plain, string(sealed), strings.ReplaceAll(string(sealed), "\n", "\r\n"), canary, untilPrefix + "2999-01-01T00:00:00Z\n" + plain, untilPrefix + canary + "\n",
		"", "#", sealedBinary + "v1\n-> scrypt bBjlhJVYZeE4aqUdmtRHfw 30\n", sealedBinary + "v1\n-> scrypt bBjlhJVYZeE4aqUdmtRHfw 30\nabc\n--- \n",
		strings.ReplaceAll(string(sealed), "=", ""), sealedBinary + "v1\n" + canary + "\n", "-----BEGIN AGE ENCRYPTED FILE-----\n" + canary + "\n", "-----BEGIN AGE ENCRYPTED FILE-----\n", "age1pq1" + canary,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		quiet := func(err error) {
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Fatalf("the error quotes the key: %v", err)
			}
		}
		id, to, err := parseKey(data)
		if (err == nil) != (id != nil && to != nil) {
			t.Fatalf("%v, %v, %v", id, to, err)
		}
		quiet(err)
		if isSealed(data) && err == nil {
			t.Fatal("a sealed file is a key as it is")
		}
		_, err = untilOf(data)
		quiet(err)
		if !isSealed(data) || dear.Match(data) {
			return
		}
		key, err := openKey(data, NewSecret(phrase))
		quiet(err)
		if err == nil {
			_, _, err = parseKey(key)
		} else if key != nil {
			t.Fatal("an error and a key")
		}
		if key != nil && err != nil {
			t.Fatal("what was opened is no key")
		}
	})
}
