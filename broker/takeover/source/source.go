package source

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// Source is a program whose logins can be taken over.
type Source struct {
	Name  string // as in `authferry import NAME`
	Title string
	Login string // the command that logs the program in

	places func(home string) []string
	parse  func(*File) error
	// over reports whether the program would take what is left neither for a login nor for
	// "logged out", so that the file is deleted; nil: never.
	over func(*node) bool
	// locks are the folders that the program uses as locks for its file; nil: none.
	locks func(path string) []string
	// item is where the program stores its logins on macOS instead of in a file; nil:
	// nowhere.
	item func() (service, account string)
}

// All returns every source.
func All() []Source {
	return []Source{openCode, openCodeMCP, claudeCode, codex, gemini, multiAuth, antigravity}
}

// Find returns the source of that name.
func Find(name string) (Source, bool) {
	all := All()
	if i := slices.IndexFunc(all, func(s Source) bool { return s.Name == name }); i >= 0 {
		return all[i], true
	}
	return Source{}, false
}

// Places are the paths at which the program stores its logins for this user, the likeliest
// first. They need not exist.
func (s Source) Places() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	return s.places(home)
}

// Present returns those of Places that exist, each once.
func (s Source) Present() []string {
	var found []string
	var infos []os.FileInfo
	for _, path := range s.Places() {
		info, err := os.Stat(path)
		if err != nil || slices.ContainsFunc(infos, func(o os.FileInfo) bool { return os.SameFile(o, info) }) {
			continue
		}
		found, infos = append(found, path), append(infos, info)
	}
	return found
}

// Item is the keychain item in which the program stores its logins on macOS; ok is false if
// it has none.
func (s Source) Item() (service, account string, ok bool) {
	if s.item == nil || runtime.GOOS != "darwin" {
		return "", "", false
	}
	service, account = s.item()
	return service, account, true
}

// folder is the one that a variable names, else the one below home.
func folder(variable, home string, below ...string) string {
	if dir := os.Getenv(variable); dir != "" && filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(append([]string{home}, below...)...)
}

// windowsFolder is a folder that a variable names on Windows.
func windowsFolder(variable string, below ...string) []string {
	dir := os.Getenv(variable)
	if runtime.GOOS != "windows" || dir == "" {
		return nil
	}
	return []string{filepath.Join(append([]string{dir}, below...)...)}
}
