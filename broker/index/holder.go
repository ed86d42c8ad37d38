package index

import (
	"encoding/json"
	"os"
	"strings"
	"time"
)

// Holder is who took a lock last. It stands in a file of its own because on
// Windows nobody else can read a locked one, and it is information for a person,
// nothing to decide by: it outlives its lock.
type Holder struct {
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`      // when the lock was obtained
	State     string    `json:"state,omitempty"` // what it is doing, in a few words
}

const holderSuffix = ".holder"

// SetHolder tells those who wait what the holder is doing; state holds no
// secret. Pid and time stand there from the start. A failure to write is no
// failure of the holder.
func (l *Lock) SetHolder(state string) {
	h := l.holder
	h.State = state
	if data, err := json.Marshal(h); err == nil {
		_ = os.WriteFile(l.path+holderSuffix, append(data, '\n'), 0o600)
	}
}

// ReadHolder returns who took the lock at path last. The error matches
// fs.ErrNotExist where nobody ever did.
func ReadHolder(path string) (Holder, error) {
	data, err := os.ReadFile(path + holderSuffix)
	if err != nil {
		return Holder{}, err
	}
	var h Holder
	if err := json.Unmarshal(data, &h); err != nil {
		return Holder{}, err
	}
	h.State = strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return r
	}, h.State)
	return h, nil
}
