package broker

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

// steps are what a Broker said that it was doing, each told when it was over.
type steps struct{ begun, over []string }

func (s *steps) progress(step folder.Step) func() {
	s.begun = append(s.begun, step.Doing())
	return func() { s.over = append(s.over, step.Doing()) }
}

func (s *steps) want(t *testing.T, pattern string) {
	t.Helper()
	if !slices.ContainsFunc(s.over, regexp.MustCompile(pattern).MatchString) {
		t.Errorf("no %s in %q", pattern, s.over)
	}
	if len(s.begun) != len(s.over) {
		t.Errorf("%d steps were begun, and %d are over", len(s.begun), len(s.over))
	}
}

// Whatever may take long is told, is over in the end, and says nothing secret.
func TestProgress(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Minute)
	var s steps
	b := New(Options{Dir: w.dir, Progress: s.progress})
	testenv.Must(t, testenv.Err(b.Refresh(t.Context(), a.ID)))
	s.want(t, `^waiting for (sim to refresh|the keystore to take the new tokens of) account "ada"$`)

	key := filepath.Join(t.TempDir(), "key.txt")
	testenv.Must(t, keystore.InitKeyFile(key))
	keychain, err := keystore.OpenFile(filepath.Join(t.TempDir(), "vault"), key)
	testenv.Must(t, err)
	s = steps{}
	b = New(Options{Dir: w.dir, Progress: s.progress, OpenKeychain: func() keystore.Store { return keystoretest.NewFaulty(keychain) }})
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), b.Folder, keystore.Keychain)))
	s.want(t, `^moving secrets to the keychain keystore, [1-9]\d* of [1-9]\d*$`)
	s.want(t, `^waiting for the age files in `)
	if all := strings.Join(s.over, "\n"); strings.Contains(all, "afat_") || strings.Contains(all, "afrt_") {
		t.Error("a step tells of a token")
	}
}
