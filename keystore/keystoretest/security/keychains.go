//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// state is all keychains of a person.
type state struct {
	Keychains map[string]*keychain // by their paths
	Default   string
	Search    []string
}

type keychain struct {
	Password string
	Locked   bool
	Items    []item
}

type item struct{ Service, Account, Data string }

// search finds the first item; i is negative where there is none. A keychain need not
// be unlocked for that; an empty account or service matches any.
func (s *state) search(service, account string) (k *keychain, i int) {
	for _, path := range s.Search {
		k := s.Keychains[path]
		if k == nil {
			continue
		}
		i := slices.IndexFunc(k.Items, func(it item) bool {
			return (service == "" || it.Service == service) && (account == "" || it.Account == account)
		})
		if i >= 0 {
			return k, i
		}
	}
	return nil, -1
}

// folder is where all is kept.
func folder() string {
	dir := os.Getenv("SECURITY_STATE")
	if dir == "" {
		fmt.Fprintln(os.Stderr, "security: SECURITY_STATE names no folder: this only stands in for a Mac's")
		os.Exit(1)
	}
	return dir
}

// change runs f on the state, alone, and keeps it.
func change(f func(*state) status) status {
	return withState(func(s *state) status {
		result := f(s)
		if elsewhere() {
			return result // and in their home they are there again
		}
		content, err := json.Marshal(s)
		if err == nil {
			// Whoever is killed leaves the old state.
			if err = os.WriteFile(filepath.Join(folder(), "new"), content, 0o600); err == nil {
				err = os.Rename(filepath.Join(folder(), "new"), filepath.Join(folder(), "keychains"))
			}
		}
		if err != nil {
			panic(err)
		}
		return result
	})
}

// look runs f on the state, which it doesn't change.
func look(f func(*state) status) status { return withState(f) }

func withState(f func(*state) status) status {
	wait()
	lock, err := os.OpenFile(filepath.Join(folder(), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		panic(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		panic(err)
	}
	const login = "login.keychain-db"
	s := &state{Keychains: map[string]*keychain{login: {}}, Default: login, Search: []string{login}}
	content, err := os.ReadFile(filepath.Join(folder(), "keychains"))
	if err == nil {
		err = json.Unmarshal(content, s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		panic(err)
	}
	if elsewhere() {
		s = &state{Keychains: map[string]*keychain{}}
	}
	return f(s)
}

// elsewhere reports that no keychain is known: the preferences that name them are below
// HOME, and this is not the home of the first process.
func elsewhere() bool {
	path := filepath.Join(folder(), "home")
	home, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		home = []byte(os.Getenv("HOME"))
		err = os.WriteFile(path, home, 0o600)
	}
	if err != nil {
		panic(err)
	}
	return fault() == "no-default" || string(home) != os.Getenv("HOME")
}

// fault is what is wrong, as the file of that name says.
func fault() string {
	content, _ := os.ReadFile(filepath.Join(folder(), "fault"))
	return string(content)
}

// wait is a prompt that nobody answers, or a slow machine.
func wait() {
	switch fault() {
	case "prompt":
		for fault() == "prompt" {
			time.Sleep(10 * time.Millisecond)
		}
	case "slow":
		time.Sleep(50 * time.Millisecond)
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}

// opens is the result of reading an item.
func (k *keychain) opens() status {
	if k.Locked {
		return interactionNotAllowed // over SSH; elsewhere it prompts
	}
	return map[string]status{
		"dismissed": userCanceled, "wrong-password": authFailed, "unavailable": notAvailable, "gone": noSuchKeychain,
	}[fault()]
}

// writes is the result of changing one.
func (k *keychain) writes() status {
	if result := k.opens(); result != ok {
		return result
	}
	return map[string]status{"read-only": readOnly, "full": diskFull}[fault()]
}

// kept is what becomes of a password.
func kept(data string) string {
	switch fault() {
	case "truncated":
		return data[:len(data)/2]
	case "emptied":
		return ""
	}
	return data
}

func createKeychain(args []string) status {
	set, paths, _ := options(args, "P")
	return change(func(s *state) status {
		for _, path := range paths {
			s.Keychains[path] = &keychain{Password: set['p']}
		}
		return ok
	})
}

func deleteKeychain(paths []string) status {
	return change(func(s *state) status {
		for _, path := range paths {
			delete(s.Keychains, path)
			s.Search = slices.DeleteFunc(s.Search, func(p string) bool { return p == path })
		}
		return ok
	})
}

func setLocked(args []string, locked bool) status {
	set, paths, _ := options(args, "au")
	return change(func(s *state) status {
		k := s.Keychains[append(paths, s.Default)[0]]
		switch {
		case k == nil:
			return noSuchKeychain
		case !locked && set['p'] != k.Password:
			return authFailed
		}
		k.Locked = locked
		return ok
	})
}

func defaultKeychain(args []string) status {
	set, _, _ := options(args, "")
	return change(func(s *state) status {
		switch path, there := set['s']; {
		case there:
			s.Default = path
		case s.Default == "":
			complain("SecKeychainCopyDomainDefault user", noDefaultKeychain)
			return generic
		default:
			fmt.Printf("    %q\n", s.Default)
		}
		return ok
	})
}

func listKeychains(args []string) status {
	set, rest, _ := options(args, "")
	return change(func(s *state) status {
		if first, there := set['s']; there {
			s.Search = append([]string{first}, rest...)
			return ok
		}
		for _, path := range s.Search {
			fmt.Printf("    %q\n", path)
		}
		return ok
	})
}

func dumpKeychain(paths []string) status {
	return look(func(s *state) status {
		for _, path := range append(paths, s.Default)[:1] {
			if k := s.Keychains[path]; k != nil {
				for _, it := range k.Items {
					fmt.Printf("keychain: %q\nclass: \"genp\"\nattributes:\n    \"acct\"<blob>=%q\n    \"svce\"<blob>=%q\n", path, it.Account, it.Service)
				}
			}
		}
		return ok
	})
}

// logged notes a process with its arguments, and its end when what it returns is called.
func logged(args []string) (done func()) {
	note := func(what string) {
		log, err := os.OpenFile(filepath.Join(folder(), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(log, "%d %s\n", os.Getpid(), what)
		_ = log.Close()
	}
	note(fmt.Sprintf("%q", args[1:]))
	return func() { note("ends") }
}
