package keystore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

// newVault is a file store of its own.
func newVault(t testing.TB) (s keystore.Store, dir, key string) {
	t.Helper()
	dir, key = filepath.Join(t.TempDir(), "authferry", "vault"), filepath.Join(t.TempDir(), "keys", "key.txt")
	testenv.Must(t, os.Mkdir(filepath.Dir(dir), 0o700))
	testenv.Must(t, keystore.InitKeyFile(key))
	s, err := keystore.OpenFile(dir, key)
	testenv.Must(t, err)
	return s, dir, key
}

// sealedFile is the one file of the vault.
func sealedFile(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files = %q, want one (%v)", files, err)
	}
	return files[0]
}

func TestFileConforms(t *testing.T) {
	_, dir, key := newVault(t)
	keystoretest.Run(t, func(t testing.TB) keystore.Store {
		s, err := keystore.OpenFile(dir, key)
		testenv.Must(t, err)
		return s
	})
}

// K12: a writer is killed at any instant.
func TestFileSurvivesKilledWriters(t *testing.T) {
	t.Parallel()
	_, dir, key := newVault(t)
	where, err := json.Marshal([]string{dir, key})
	testenv.Must(t, err)
	killWriters(t, string(where), nil)
}

func TestFileNamesAndModes(t *testing.T) {
	s, dir, key := newVault(t)
	mustSet(t, s, "value")
	if s.Kind() != keystore.File || !strings.Contains(s.Backend(), dir) {
		t.Errorf("kind %q, backend %q", s.Kind(), s.Backend())
	}
	file := sealedFile(t, dir)
	if !regexp.MustCompile(`^[0-9a-f]{64}\.age$`).MatchString(filepath.Base(file)) {
		t.Errorf("file name %q", filepath.Base(file))
	}
	if runtime.GOOS == "windows" {
		return // folders of the user's profile keep others out
	}
	for path, want := range map[string]fs.FileMode{
		file: 0o600, dir: 0o700, filepath.Dir(dir): 0o700, key: 0o600, filepath.Dir(key): 0o700,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode().Perm(), want, err)
		}
	}
}

// A person gets the value back without authferry.
func TestAgeOpensTheFile(t *testing.T) {
	for _, program := range []string{"age", "age-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
	own := filepath.Join(t.TempDir(), "own.txt")
	if out, err := exec.CommandContext(t.Context(), "age-keygen", "-o", own).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, _, made := newVault(t)
	for _, key := range []string{own, made} {
		dir := filepath.Join(t.TempDir(), "vault")
		s, err := keystore.OpenFile(dir, key)
		testenv.Must(t, err)
		for value, want := range map[string]string{
			`<é>"`: `{"name":"` + item + `","value":"<é>\""}`,
			"\xff": `{"name":"` + item + `","value_base64":"/w=="}`,
			"":     `{"name":"` + item + `","value":""}`,
		} {
			mustSet(t, s, value)
			out, err := exec.CommandContext(t.Context(), "age", "-d", "-i", key, sealedFile(t, dir)).Output()
			if err != nil || strings.TrimSpace(string(out)) != want {
				t.Errorf("age shows %q, want %q (%v)", out, want, err)
			}
		}
	}
}

// C11: whatever becomes of a file, a value is whole or it is none.
func TestDamagedFile(t *testing.T) {
	s, dir, key := newVault(t)
	mustSet(t, s, "value")
	file := sealedFile(t, dir)
	sealed, err := os.ReadFile(file)
	testenv.Must(t, err)
	for i := range sealed {
		for _, data := range [][]byte{sealed[:i], append(bytes.Clone(sealed[:i]), append([]byte{sealed[i] ^ 4}, sealed[i+1:]...)...)} {
			testenv.Must(t, os.WriteFile(file, data, 0o600))
			if _, err := s.Get(t.Context(), item); !errors.Is(err, keystore.ErrDamaged) && !errors.Is(err, keystore.ErrDenied) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	for name, data := range map[string][]byte{
		"empty": nil, "cut": sealed[:len(sealed)-1], "longer": append(bytes.Clone(sealed), 0), "text": []byte("hello"),
		"huge": bytes.Repeat([]byte("a"), 9*keystore.MaxSize),
	} {
		testenv.Must(t, os.WriteFile(file, data, 0o600))
		if _, err := s.Get(t.Context(), item); !errors.Is(err, keystore.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
	mustSet(t, s, "mended")

	other := sealedUnder(t, dir, key, "other/item", file)
	if _, err := s.Get(t.Context(), item); !errors.Is(err, keystore.ErrDamaged) {
		t.Errorf("%s in the place of another item: %v, want ErrDamaged", other, err)
	}
}

// sealedUnder puts the file of another item at path.
func sealedUnder(t *testing.T, dir, key, name, path string) string {
	t.Helper()
	beside := filepath.Join(filepath.Dir(dir), "beside")
	s, err := keystore.OpenFile(beside, key)
	testenv.Must(t, err)
	testenv.Must(t, s.Set(t.Context(), name, keystore.NewSecret("x")))
	testenv.Must(t, os.Rename(sealedFile(t, beside), path))
	return name
}

func TestAnotherKey(t *testing.T) {
	s, dir, _ := newVault(t)
	mustSet(t, s, "value")
	_, _, key := newVault(t)
	other, err := keystore.OpenFile(dir, key)
	testenv.Must(t, err)
	if _, err := other.Get(t.Context(), item); !errors.Is(err, keystore.ErrDenied) || !strings.Contains(err.Error(), "another key") {
		t.Errorf("error = %v, want ErrDenied that names the reason", err)
	}
}

func utf16LE(text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return string(b)
}

func TestKeyFiles(t *testing.T) {
	_, dir, key := newVault(t)
	good, err := os.ReadFile(key)
	testenv.Must(t, err)
	if !regexp.MustCompile(`^# created: \S+\nAGE-SECRET-KEY-1[0-9A-Z]+\n$`).Match(good) {
		t.Errorf("the key file is not one of age-keygen's kind")
	}
	if err := keystore.InitKeyFile(key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v, want fs.ErrExist", err)
	}
	if again, err := os.ReadFile(key); err != nil || !bytes.Equal(again, good) {
		t.Error("the key file was overwritten")
	}
	secret := strings.TrimSpace(strings.SplitN(string(good), "\n", 2)[1])
	for name, tt := range map[string]struct {
		text  string
		cause error
	}{
		"comments and two keys": {"# a\n\n" + secret + "\n# b\n" + secret, nil},
		"a byte order mark":     {"\ufeff" + secret + "\r\n", nil},
		"UTF-16 of PowerShell":  {utf16LE("\ufeff# ü\r\n" + secret + "\r\n"), nil},
		"NULs of a crash":       {secret + "\n\x00\x00", nil},
		"nothing but NULs":      {"\x00\x00\x00\x00", keystore.ErrDenied},
		"empty":                 {"", keystore.ErrDenied},
		"comments only":         {"# a\n", keystore.ErrDenied},
		"cut":                   {secret[:40], keystore.ErrDenied},
		"a public key":          {"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", keystore.ErrDenied},
		"not a key":             {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", keystore.ErrDenied},
	} {
		path := filepath.Join(t.TempDir(), "key")
		testenv.Must(t, os.WriteFile(path, []byte(tt.text), 0o600))
		_, err := keystore.OpenFile(dir, path)
		if !errors.Is(err, tt.cause) {
			t.Errorf("%s: %v, want %v", name, err, tt.cause)
		}
		if err != nil && strings.Contains(err.Error(), secret[:40]) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
	if _, err := keystore.OpenFile(dir, filepath.Join(dir, "missing")); !errors.Is(err, keystore.ErrUnavailable) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := keystore.OpenFile(dir, t.TempDir()); !errors.Is(err, keystore.ErrDenied) {
		t.Errorf("a folder: %v", err)
	}
}

// A write leads nowhere out of the vault.
// A key file may be a link, as mounted secrets are; what never ends is none, nor what
// never begins.
func TestKeyFileThatIsNoFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: mkfifo")
	}
	dir := t.TempDir()
	key, link, pipe, long := filepath.Join(dir, "key"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe"), filepath.Join(dir, "long")
	testenv.Must(t, errors.Join(keystore.InitKeyFile(key), os.Symlink(key, link), exec.CommandContext(t.Context(), "mkfifo", pipe).Run(), os.WriteFile(long, make([]byte, 1<<20), 0o600)))
	if _, err := keystore.OpenFile(filepath.Join(dir, "vault"), link); err != nil {
		t.Errorf("a link: %v", err)
	}
	for _, path := range []string{pipe, long, "/dev/zero"} {
		if _, err := keystore.OpenFile(filepath.Join(dir, "vault"), path); !errors.Is(err, atomicfile.ErrUnfit) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSymbolicLinkIsReplaced(t *testing.T) {
	s, dir, _ := newVault(t)
	mustSet(t, s, "value")
	file, outside := sealedFile(t, dir), filepath.Join(t.TempDir(), "outside")
	testenv.Must(t, os.WriteFile(outside, []byte("mine"), 0o600))
	testenv.Must(t, os.Remove(file))
	testenv.Symlink(t, outside, file)
	mustSet(t, s, "new")
	if text, err := os.ReadFile(outside); err != nil || string(text) != "mine" {
		t.Errorf("the link's target is now %q (%v)", text, err)
	}
	if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the item is %v (%v)", info.Mode(), err)
	}
}

// A vault that leads elsewhere, as an unpacked archive may bring one, is not used.
func TestVaultThatLeadsElsewhere(t *testing.T) {
	s, dir, key := newVault(t)
	mustSet(t, s, "value")
	testenv.Must(t, os.Rename(dir, dir+".elsewhere"))
	testenv.Symlink(t, dir+".elsewhere", dir)
	if _, err := keystore.OpenFile(dir, key); !errors.Is(err, keystore.ErrDenied) {
		t.Errorf("got %v", err)
	}
}

// What killed writers left goes; what a writer is writing now stays.
func TestStrayFiles(t *testing.T) {
	s, dir, _ := newVault(t)
	mustSet(t, s, "value")
	old, fresh := filepath.Join(dir, ".authferry-1.tmp"), filepath.Join(dir, ".authferry-2.tmp")
	for _, path := range []string{old, fresh} {
		testenv.Must(t, os.WriteFile(path, nil, 0o600))
	}
	testenv.Must(t, os.Chtimes(old, time.Now(), time.Now().Add(-2*time.Hour)))
	mustSet(t, s, "again")
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the fresh one: %v", err)
	}
}

// D2: a vault that can't be written keeps its value and leaves nothing behind.
func TestReadOnlyVault(t *testing.T) {
	s, dir, _ := newVault(t)
	mustSet(t, s, "old")
	file := sealedFile(t, dir)
	testenv.Must(t, errors.Join(os.Remove(file), os.Mkdir(file, 0o700), os.WriteFile(filepath.Join(file, "in"), nil, 0o600)))
	if err := s.Set(context.Background(), item, keystore.NewSecret("new")); !errors.Is(err, keystore.ErrDenied) {
		t.Errorf("error = %v, want ErrDenied", err)
	}
	if got := sealedFile(t, dir); got != file {
		t.Errorf("left behind: %s", got)
	}
}

func BenchmarkFileGet(b *testing.B) {
	s, _, _ := newVault(b)
	mustSet(b, s, strings.Repeat("v", 1500))
	b.ReportAllocs()
	for b.Loop() {
		testenv.Must(b, testenv.Err(s.Get(b.Context(), item)))
	}
}
