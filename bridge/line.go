package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
)

// MaxMessage is how long a message may be.
const MaxMessage = 16 << 20

var errTooLong = errors.New("longer than 16 MB")

// lines reads messages, one a line.
type lines struct{ r *bufio.Reader }

func newLines(in io.Reader) *lines { return &lines{bufio.NewReaderSize(in, 64<<10)} }

// next returns the next line that has something in it, which is the caller's to keep.
// The error is errTooLong for one that was skipped, and io.EOF at the end.
func (l *lines) next() ([]byte, error) {
	for {
		line, err := l.line()
		if line = bytes.TrimSpace(line); len(line) > 0 || err != nil {
			return line, err
		}
	}
}

func (l *lines) line() (line []byte, err error) {
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if long = long || len(line)+len(part) > MaxMessage+1; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case long && (err == nil || errors.Is(err, io.EOF)):
			return nil, errTooLong
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) > 0:
			return line, nil // the last one may lack its end
		default:
			return line, err
		}
	}
}

// output takes messages, one a line, from any number of goroutines.
type output struct {
	mu   sync.Mutex
	w    *bufio.Writer
	err  error
	gone func() // nobody reads any more
}

func newOutput(w io.Writer, gone func()) *output {
	return &output{w: bufio.NewWriterSize(w, 4<<10), gone: gone}
}

// put writes a message. It returns when the reader has taken it, or the system in its
// place.
func (o *output) put(message []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	_, _ = o.w.Write(message)
	_ = o.w.WriteByte('\n')
	if o.err = o.w.Flush(); o.err != nil { // of the writes before as well
		o.gone()
	}
}
