//go:build unix

package setup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/testenv"
)

const somebody = 12345 // a user who is not this one

// Root's command in another user's home (sudo -E) leaves that user's files alone: a file
// that root puts in the place of one would be root's.
func TestFilesOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, who alone gives folders away")
	}
	t.Parallel()
	clients := Clients()
	git := clients[slices.IndexFunc(clients, func(c Client) bool { return c.Name == "git" })]
	for _, there := range []bool{true, false} {
		m := machine(t)
		file := filepath.Join(m.Home, ".gitconfig")
		if there {
			testenv.Must(t, os.WriteFile(file, []byte("[user]\n"), 0o600))
		}
		changes, err := git.Plan(m, choice, false)
		if err != nil || len(changes) == 0 {
			t.Fatal(changes, err)
		}
		for _, path := range []string{m.Home, file} {
			if err := os.Chown(path, somebody, somebody); err != nil && there {
				t.Fatal(err)
			}
		}
		if err := ApplyAll(changes); !isOwned(err) {
			t.Errorf("a file (%v): %v", there, err)
		}
		if now, _ := os.ReadFile(file); there && string(now) != "[user]\n" || !there && now != nil {
			t.Errorf("the file is %q", now)
		}
		link := Change{Path: filepath.Join(m.Home, "bin", "docker-credential-x"), Link: m.Binary, After: []byte(m.Binary)}
		testenv.Must(t, os.Chown(filepath.Dir(link.Path), somebody, somebody))
		if err := link.Apply(); !isOwned(err) {
			t.Errorf("a link: %v", err)
		}
	}
}

func isOwned(err error) bool {
	_, ok := errors.AsType[*atomicfile.OwnerError](err)
	return ok
}
