package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"
)

// event is one of a stream, as the HTML standard has it.
type event struct {
	id    string // the stream's last one
	name  string
	data  []byte        // valid until the next event is read
	retry time.Duration // negative: it doesn't say
}

// events reads a stream of server-sent events: lines end with LF, CRLF or CR, and an
// event with an empty line. The last one may lack that.
type events struct {
	r     *bufio.Reader
	line  []byte
	data  []byte
	id    string
	cr    bool // the last byte was CR: an LF belongs to it
	begun bool
}

// keptBuffer is how much memory a stream keeps between two events.
const keptBuffer = 1 << 20

func newEvents(r io.Reader) *events { return &events{r: bufio.NewReaderSize(r, 16<<10)} }

// next returns the next event that has data, an id or a time to wait. Errors: errTooLong,
// and those of the stream.
func (e *events) next() (event, error) {
	var (
		ev    = event{retry: -1}
		any   bool // it has data
		known = e.id
	)
	if e.data = e.data[:0]; cap(e.data)+cap(e.line) > keptBuffer {
		e.data, e.line = nil, nil // a stream may last, and never have so much again
	}
	for {
		line, err := e.readLine()
		over := errors.Is(err, io.EOF)
		if err != nil && !over {
			return event{}, err
		}
		if len(line) > 0 {
			name, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(name) {
			case "data":
				if len(e.data)+len(value) > MaxMessage {
					return event{}, errTooLong
				}
				if any {
					e.data = append(e.data, '\n')
				}
				any = true
				e.data = append(e.data, value...)
			case "event":
				ev.name = string(value)
			case "id":
				if validID(value) {
					e.id = string(value)
				}
			case "retry":
				if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
					ev.retry = time.Duration(ms) * time.Millisecond // #nosec G115 -- 31 bits
				}
			}
			if !over {
				continue
			}
		}
		if any || e.id != known || ev.retry >= 0 {
			ev.id, ev.data = e.id, e.data
			return ev, nil
		}
		if over {
			return event{}, io.EOF
		}
		ev.name = ""
	}
}

// validID reports an event's id that can be given back in a header.
func validID(id []byte) bool {
	return len(id) <= 4<<10 && bytes.IndexFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// readLine returns a line without its end, valid until the next; with io.EOF the last
// one, which has none.
func (e *events) readLine() ([]byte, error) {
	e.line = e.line[:0]
	for {
		if _, err := e.r.Peek(1); err != nil {
			return e.trimmed(), err
		}
		ahead, _ := e.r.Peek(e.r.Buffered())
		if e.cr {
			if e.cr = false; ahead[0] == '\n' {
				_, _ = e.r.Discard(1)
				continue
			}
		}
		end := bytes.IndexAny(ahead, "\r\n")
		part := ahead
		if end >= 0 {
			part = ahead[:end]
		}
		if len(e.line)+len(part) > MaxMessage+len("data: ") {
			return nil, errTooLong
		}
		e.line = append(e.line, part...)
		if end < 0 {
			_, _ = e.r.Discard(len(ahead))
			continue
		}
		e.cr = ahead[end] == '\r'
		_, _ = e.r.Discard(end + 1)
		return e.trimmed(), nil
	}
}

// trimmed is the line without the byte order mark that a stream may begin with.
func (e *events) trimmed() []byte {
	if e.begun {
		return e.line
	}
	e.begun = true
	return bytes.TrimPrefix(e.line, []byte("\ufeff"))
}
