package serve

import "bytes"

// maxEvent is how much of one event's data is read. No limit is that long.
const maxEvent = 64 << 10

// events parses a stream of server-sent events (HTML standard): lines end with LF, CRLF or
// CR, an event with an empty line, and all of it may come in any pieces.
type events struct {
	emit func(data []byte) // is called with an event's data, which must not be kept; nil data: it was too long

	line  []byte
	data  []byte
	any   bool // the event has data
	long  bool // the event is longer than maxEvent
	cr    bool // the last byte was CR: a following LF belongs to it
	begun bool
}

func (e *events) feed(p []byte) {
	for len(p) > 0 {
		if e.cr {
			if e.cr = false; p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		i := bytes.IndexAny(p, "\r\n")
		if i < 0 {
			e.add(p)
			return
		}
		e.add(p[:i])
		e.cr = p[i] == '\r'
		p = p[i+1:]
		e.endLine()
	}
}

// end is called when the stream is over: its last event may lack the empty line.
func (e *events) end() {
	if len(e.line) > 0 {
		e.endLine()
	}
	e.endEvent()
}

func (e *events) add(p []byte) {
	if room := maxEvent - len(e.line); len(p) > room {
		e.long = true
		p = p[:room]
	}
	e.line = append(e.line, p...)
}

var dataField = []byte("data")

func (e *events) endLine() {
	line := e.line
	e.line = e.line[:0]
	if !e.begun {
		e.begun = true
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	if len(line) == 0 {
		e.endEvent()
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	if !bytes.Equal(name, dataField) {
		return
	}
	value = bytes.TrimPrefix(value, []byte(" "))
	if len(e.data)+len(value) > maxEvent {
		e.long = true
		value = nil
	}
	if e.any {
		e.data = append(e.data, '\n')
	}
	e.any = true
	e.data = append(e.data, value...)
}

func (e *events) endEvent() {
	data, is, long := e.data, e.any, e.long
	e.data, e.any, e.long = e.data[:0], false, false
	switch {
	case long:
		e.emit(nil)
	case is:
		e.emit(data)
	}
}
