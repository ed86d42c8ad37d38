package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/authferry/authferry/rawtext"
)

// Causes of a *FileError.
var (
	ErrTooNew  = errors.New("written by a newer version")
	ErrCorrupt = errors.New("damaged")
)

// FileError says why an index file can't be used. The file was not changed.
type FileError struct {
	Path   string
	Cause  error  // ErrTooNew or ErrCorrupt
	Reason string // quotes nothing from the file
}

func (e *FileError) Error() string { return fmt.Sprintf("%s is %v: %s", e.Path, e.Cause, e.Reason) }

// Unwrap returns ErrTooNew or ErrCorrupt.
func (e *FileError) Unwrap() error { return e.Cause }

func corrupt(format string, args ...any) *FileError {
	return &FileError{Cause: ErrCorrupt, Reason: fmt.Sprintf(format, args...)}
}

// Editors on Windows put a byte order mark before UTF-8 text.
var byteOrderMark = []byte("\xef\xbb\xbf")

// parse returns the index in data, without the fields that it doesn't know. Its errors are
// *FileError without a path.
func parse(data []byte) (*Index, error) {
	data = bytes.TrimPrefix(data, byteOrderMark)
	ix, quick := quickParse(data)
	var err error
	if !quick {
		ix = new(Index)
		err = json.Unmarshal(data, ix)
	}
	// A value of the wrong type doesn't end the decoding, so the schema's number is known
	// even if a newer schema changed other fields.
	if ix.Schema > Schema {
		return nil, &FileError{Cause: ErrTooNew, Reason: fmt.Sprintf("it has schema %d, and this program supports %d", ix.Schema, Schema)}
	}
	if err != nil {
		return nil, corrupt("%s", decodeReason(err))
	}
	if err := ix.validate(); err != nil {
		return nil, err
	}
	return ix, nil
}

// parseKeeping is parse, with the unknown fields in Extra.
func parseKeeping(data []byte) (*Index, error) {
	data = bytes.TrimPrefix(data, byteOrderMark)
	// There are rarely any, and the quick way can tell.
	if ix, ok := quickParse(data); ok && ix.Schema == Schema {
		if err := ix.validate(); err != nil {
			return nil, err
		}
		return ix, nil
	}
	ix, err := parse(data)
	if err != nil {
		return nil, err
	}
	return ix, capture(data, ix)
}

// decodeReason describes a decoding error without quoting the input, as json does.
func decodeReason(err error) string {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("it is not JSON at byte %d", e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%s has a value of the wrong kind at byte %d", e.Field, e.Offset)
	}
	return "it has a value that can not be read"
}

// validate checks what all other code relies on, so that a person who edits the file can't
// name paths or keystore items outside of the folder's own. The error is a *FileError
// without a path.
func (ix *Index) validate() error {
	if ix.Schema != Schema {
		return corrupt("it has schema %d", ix.Schema)
	}
	if !isRandomName(ix.Store) {
		return corrupt("its store id is malformed")
	}
	seen := make(map[string]bool, len(ix.Accounts))
	for i := range ix.Accounts {
		a := &ix.Accounts[i]
		if !ValidID(a.ID) {
			return corrupt("account %d has a malformed id", i+1)
		}
		if seen[a.ID] {
			return corrupt("%s occurs twice", a.ID)
		}
		seen[a.ID] = true
		if reason := a.fault(); reason != "" {
			return corrupt("%s %s", a.ID, reason)
		}
	}
	for name, p := range ix.Pools {
		if !validName(name) || !validProvider(p.Provider) {
			return corrupt("a pool or its provider has a malformed name")
		}
		if p.Current != "" && !ValidID(p.Current) {
			return corrupt("the current account of a pool has a malformed id")
		}
	}
	for i, b := range ix.Bindings {
		if b.Dir == "" || !validProvider(b.Provider) || (b.Account == "") == (b.Pool == "") ||
			b.Account != "" && !ValidID(b.Account) || b.Pool != "" && !validName(b.Pool) {
			return corrupt("binding %d does not bind a directory to one account or pool", i+1)
		}
	}
	for i := range ix.Shares {
		if reason := ix.Shares[i].fault(); reason != "" {
			return corrupt("shared pool %d %s", i+1, reason)
		}
	}
	return nil
}

// fault returns what is wrong with a, or "".
func (a *Account) fault() string {
	switch {
	case checkLabelForm(a.Label) != nil:
		return "has a malformed label"
	case !validProvider(a.Provider):
		return "has a malformed provider"
	case !validName(a.Pool):
		return "has a malformed pool"
	case !ValidCount(a.Generation), !ValidCount(a.RefusedGeneration):
		return "has an impossible generation"
	case a.Failure != nil && !ValidCount(a.Failure.Count):
		return "has an impossible number of failures"
	case a.GrantSlot != "" && !validSlot(a.GrantSlot), a.AccessSlot != "" && !validSlot(a.AccessSlot):
		return "has a malformed slot"
	}
	for i := range a.Intents {
		if in := &a.Intents[i]; !validSlot(in.Slot) || in.Generation < 1 || !ValidCount(in.Generation) || !ValidCount(in.Attempt) {
			return "has a malformed intent"
		}
	}
	for i := range a.Holds {
		if !ValidCount(a.Holds[i].Guesses) {
			return "has a hold with an impossible number of guesses"
		}
	}
	if a.Share != nil {
		return a.Share.fault()
	}
	return ""
}

// validProvider accepts what oauth accepts as a provider's name, which ends up in hints
// that people paste into a shell.
func validProvider(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r) {
			return false
		}
	}
	return s != "" && len(s) <= 64 && !strings.ContainsAny(s[:1], "-._")
}

// validName checks the name of a pool. Whether the pool exists is not checked.
func validName(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for _, r := range s {
		if r == utf8.RuneError || r == '/' || rawtext.Steers(r) {
			return false
		}
	}
	return true
}

// encode returns the content of the file, including the fields in Extra.
func encode(ix *Index) ([]byte, error) {
	if ix.Accounts == nil {
		ix.Accounts = []Account{}
	}
	if err := ix.validate(); err != nil {
		return nil, fmt.Errorf("the changed index would be refused: %w", err)
	}
	data, err := marshal(ix)
	if err != nil {
		return nil, err
	}
	return join(data, ix)
}

// marshal is json.Marshal with a newline, and without the escapes that only HTML needs.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
