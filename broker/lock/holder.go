package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/rawtext"
)

// Holder says who took a lock last. It is information for people and decides nothing,
// because it outlives its lock. It has a file of its own: on Windows a locked file can't be
// read by others.
type Holder struct {
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`      // when the lock was obtained
	State     string    `json:"state,omitempty"` // what it is doing, in a few words
	// Command is the program and its first argument. Later arguments are never kept: they
	// may be secret.
	Command string `json:"command,omitempty"`
}

// String names the process and its command.
func (h Holder) String() string {
	if h.Command == "" {
		return fmt.Sprintf("process %d", h.PID)
	}
	return fmt.Sprintf("process %d (%s)", h.PID, h.Command)
}

// startedAs is the Command of this process.
func startedAs() string {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	isWord := func(s string) bool { return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == "" }
	if len(os.Args) > 1 && isWord(os.Args[1]) {
		name += " " + os.Args[1]
	}
	return name
}

const (
	holderSuffix = ".holder"
	maxHolder    = 4 << 10 // far above any real one
)

// SetHolder says in a few words what the holder is doing, for those who wait. state must
// hold no secret. A failure to write it is ignored. Pid and time are there from the start.
func (l *Lock) SetHolder(state string) {
	if l.Confirm() != nil {
		return // a later holder's file must not be overwritten
	}
	h := l.holder
	h.State = state
	data, err := json.Marshal(h)
	if err != nil {
		return
	}
	// A link there could lead to another user's file.
	if info, err := os.Lstat(l.path + holderSuffix); err == nil && !info.Mode().IsRegular() {
		return
	}
	file, err := os.OpenFile(l.path+holderSuffix, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || linked(info) {
		return // likewise by a hard link
	}
	// Truncating first would take thirty times as long: ext4 takes that for an unsafe
	// replacement and syncs.
	if n, err := file.Write(data); err == nil {
		_ = file.Truncate(int64(n))
	}
}

// ReadHolder returns who took the lock at path last. The error matches fs.ErrNotExist if
// nobody ever did.
func ReadHolder(path string) (Holder, error) {
	if info, err := os.Lstat(path + holderSuffix); err != nil || !info.Mode().IsRegular() {
		return Holder{}, errors.Join(err, fs.ErrNotExist)
	}
	data, err := atomicfile.Read(path+holderSuffix, maxHolder)
	if err != nil {
		return Holder{}, err
	}
	// The end of a longer, older text may follow.
	var h Holder
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&h); err != nil {
		return Holder{}, err
	}
	h.State, h.Command = shown(h.State), shown(h.Command)
	return h, nil
}

// shown is text without terminal control characters.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if rawtext.Steers(r) {
			return -1
		}
		return r
	}, text)
}
