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

// Holder is who took a lock last. It stands in a file of its own because on
// Windows nobody else can read a locked one, and it is information for a person,
// nothing to decide by: it outlives its lock.
type Holder struct {
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`      // when the lock was obtained
	State     string    `json:"state,omitempty"` // what it is doing, in a few words
	// Command is what it was started as: the program and the first word behind it,
	// never what may stand there next.
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
	maxHolder    = 4 << 10 // far above any
)

// SetHolder tells those who wait what the holder is doing; state holds no
// secret. Pid and time stand there from the start. A failure to write is no
// failure of the holder.
func (l *Lock) SetHolder(state string) {
	if l.Confirm() != nil {
		return // there it would name the wrong one
	}
	h := l.holder
	h.State = state
	data, err := json.Marshal(h)
	if err != nil {
		return
	}
	// A link there would make this write into somebody else's file.
	if info, err := os.Lstat(l.path + holderSuffix); err == nil && !info.Mode().IsRegular() {
		return
	}
	file, err := os.OpenFile(l.path+holderSuffix, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || linked(info) {
		return // the same, by a hard link
	}
	// Emptying the file first would cost thirty times as much: ext4 takes that for
	// an unsafe replacement and writes it to disk.
	if n, err := file.Write(data); err == nil {
		_ = file.Truncate(int64(n))
	}
}

// ReadHolder returns who took the lock at path last. The error matches
// fs.ErrNotExist where nobody ever did.
func ReadHolder(path string) (Holder, error) {
	if info, err := os.Lstat(path + holderSuffix); err != nil || !info.Mode().IsRegular() {
		return Holder{}, errors.Join(err, fs.ErrNotExist)
	}
	data, err := atomicfile.Read(path+holderSuffix, maxHolder)
	if err != nil {
		return Holder{}, err
	}
	// The end of a longer one may still follow it.
	var h Holder
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&h); err != nil {
		return Holder{}, err
	}
	h.State, h.Command = shown(h.State), shown(h.Command)
	return h, nil
}

// shown is text without what steers a terminal.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if rawtext.Steers(r) {
			return -1
		}
		return r
	}, text)
}
