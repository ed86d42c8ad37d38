package folder

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unicode"

	"github.com/authferry/authferry/broker/fault"
)

// asWritten refuses a path that should have been expanded but was not, because systemd,
// cron, docker and .env files don't expand as shells do. A folder of that very name would
// be a different one in each working directory. An empty path is fine, and so is the
// absolute path of something that exists. name is what the path is called in the error.
func asWritten(name, path string) error {
	why := oddity(path)
	if why == "" {
		return nil
	}
	if _, err := os.Lstat(path); err == nil && filepath.IsAbs(path) {
		return nil
	}
	err := fault.Errorf(fault.Usage, "%s is %s: %s; write the whole path", name, strconv.Quote(path), why)
	switch meant := expand(path); {
	case meant == "":
		return err
	case strings.HasPrefix(name, "-"):
		return err.Try(fault.Remedy{Do: fault.Again, Name: strings.TrimPrefix(name, "--"), Value: meant})
	default:
		return err.Try(fault.Remedy{Do: fault.SetVariable, Name: name, Value: meant})
	}
}

const byteOrderMark = "\ufeff"

// oddity says what in path a shell would have removed or replaced; empty: nothing.
func oddity(path string) string {
	switch {
	case path == "":
		return ""
	case strings.HasPrefix(path, byteOrderMark):
		return "it contains a byte order mark, as from a file that a Windows tool wrote"
	case strings.TrimSpace(path) != path || strings.ContainsFunc(path, unicode.IsControl):
		return "it contains white space or a control character, as from a line that ends in CR LF"
	case strings.ContainsAny(path[:1], `"'`) || strings.ContainsAny(path[len(path)-1:], `"'`):
		return "it contains the quotes"
	case path[0] == '~', path[0] == '%', strings.ContainsRune(path, '`'):
		return "it was not expanded"
	}
	for rest := path; ; {
		_, after, ok := strings.Cut(rest, "$")
		if !ok {
			break
		}
		if after != "" && (after[0] == '{' || after[0] == '(' || inName(rune(after[0]))) {
			return "it was not expanded"
		}
		rest = after
	}
	if parts := strings.Split(path, "%"); len(parts) > 2 && parts[1] != "" && !strings.ContainsFunc(parts[1], func(r rune) bool { return !inName(r) }) {
		return "it was not expanded"
	}
	return ""
}

// inName reports whether r may be in the name of a variable, on Windows too.
func inName(r rune) bool {
	return r == '_' || r == '(' || r == ')' || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// expand is the absolute path that path was meant to be; empty: unknown.
func expand(path string) string {
	path = strings.Trim(strings.TrimSpace(strings.TrimPrefix(path, byteOrderMark)), `"'`)
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if home, err := os.UserHomeDir(); err == nil {
			path = home + rest
		}
	}
	known := true
	path = os.Expand(path, func(name string) string {
		known = known && os.Getenv(name) != ""
		return os.Getenv(name)
	})
	if !known || !filepath.IsAbs(path) || oddity(path) != "" {
		return ""
	}
	return filepath.Clean(path)
}

// DefaultKeyFile is the key file that the environment names: AUTHFERRY_KEY_FILE, else the
// credential "authferry-key" of a systemd service, if it has one. Empty: the one that the
// index records. Errors: Usage for a path that was not expanded.
func DefaultKeyFile() (string, error) {
	if path := os.Getenv("AUTHFERRY_KEY_FILE"); path != "" {
		return path, asWritten("AUTHFERRY_KEY_FILE", path)
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		path := filepath.Join(dir, "authferry-key")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", nil
}

// DefaultDir is AUTHFERRY_DIR, else authferry's folder in the user's configuration folder
// (on Windows the one that doesn't roam). Errors: Usage for a path that was not expanded,
// or if there is no home folder.
func DefaultDir() (string, error) {
	if dir := os.Getenv("AUTHFERRY_DIR"); dir != "" {
		if err := asWritten("AUTHFERRY_DIR", dir); err != nil {
			return "", err
		}
		return filepath.Abs(dir)
	}
	if runtime.GOOS == "windows" {
		if dir := os.Getenv("LocalAppData"); dir != "" {
			return filepath.Join(dir, "authferry"), nil
		}
	}
	dir, err := os.UserConfigDir()
	if err == nil && !filepath.IsAbs(dir) { // HOME=~, for example
		err = errors.New("its path is not absolute: " + strconv.Quote(dir))
	}
	if err != nil {
		return "", fault.Errorf(fault.Usage, "there is no home folder to keep accounts in").Try(fault.Remedy{Do: fault.SetVariable, Name: "AUTHFERRY_DIR", Value: "FOLDER"}).Because(err)
	}
	return filepath.Join(dir, "authferry"), nil
}
