package index

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// cursor reads JSON text that is valid UTF-8, from front to back. Once it meets something
// unexpected it is lost, and what it has returned must not be used.
type cursor struct {
	s     string
	i     int
	first bool // nothing of this object or list has been read yet
	lost  bool
	time  []byte // space for the text of a time
}

func (c *cursor) space() {
	for c.i < len(c.s) && (c.s[c.i] == ' ' || c.s[c.i] == '\n' || c.s[c.i] == '\t' || c.s[c.i] == '\r') {
		c.i++
	}
}

// has consumes this character if it is the next one.
func (c *cursor) has(char byte) bool {
	c.space()
	if c.i == len(c.s) || c.s[c.i] != char {
		return false
	}
	c.i++
	return true
}

func (c *cursor) take(char byte) { c.lost = !c.has(char) || c.lost }

func (c *cursor) open(bracket byte) {
	c.take(bracket)
	c.first = true
}

// more reports whether another element follows; if not, it consumes the bracket.
func (c *cursor) more(bracket byte) bool {
	if c.lost || c.has(bracket) {
		c.first = false
		return false
	}
	if !c.first {
		c.take(',')
	}
	c.first = false
	return !c.lost
}

// key consumes the name of this field if it is the next one.
func (c *cursor) key(name string) bool {
	start := c.i
	if c.first || c.has(',') {
		c.space()
		rest, ok := strings.CutPrefix(c.s[c.i:], `"`)
		if ok {
			rest, ok = strings.CutPrefix(rest, name)
		}
		if ok && strings.HasPrefix(rest, `"`) {
			c.i += len(name) + len(`""`)
			c.first = false
			c.take(':')
			return !c.lost
		}
	}
	c.i = start
	return false
}

func (c *cursor) text(name string, to *string) {
	if c.key(name) {
		*to = c.str()
	}
}

func (c *cursor) number(name string, to *int) {
	if c.key(name) {
		*to = int(c.whole(strconv.IntSize))
	}
}

func (c *cursor) wide(name string, to *int64) {
	if c.key(name) {
		*to = c.whole(64)
	}
}

func (c *cursor) duration(name string, to *time.Duration) {
	if c.key(name) {
		*to = time.Duration(c.whole(64))
	}
}

func (c *cursor) whole(bits int) int64 {
	digits := c.run("-0123456789")
	n, err := strconv.ParseInt(digits, 10, bits)
	if err != nil || strings.TrimPrefix(digits, "-")[0] == '0' && n != 0 || len(digits) > 1 && n == 0 {
		c.lost = true
	}
	return n
}

func (c *cursor) fraction(name string, to *float64) {
	if c.key(name) && json.Unmarshal([]byte(c.run("+-.0123456789Ee")), to) != nil {
		c.lost = true
	}
}

func (c *cursor) flag(name string, to *bool) {
	if !c.key(name) {
		return
	}
	word := c.run("truefals")
	*to = word == "true"
	c.lost = c.lost || !*to && word != "false"
}

func (c *cursor) moment(name string, to *time.Time) {
	if !c.key(name) {
		return
	}
	c.space()
	start := c.i
	c.str()
	if c.time = append(c.time[:0], c.s[start:c.i]...); !c.lost && to.UnmarshalJSON(c.time) != nil {
		c.lost = true
	}
}

// texts reads a field that is a list of strings.
func (c *cursor) texts(name string, to *[]string) {
	elements(c, name, to, func(s *string) { *s = c.str() })
}

// list reads a field that is a list of objects.
func list[T any](c *cursor, name string, to *[]T, fields func(*T)) {
	elements(c, name, to, func(t *T) { object(c, t, fields) })
}

// elements reads a field that is a list. As in encoding/json, an empty list is not nil.
func elements[T any](c *cursor, name string, to *[]T, element func(*T)) {
	if !c.key(name) {
		return
	}
	*to = []T{}
	for c.open('['); c.more(']'); {
		var t T
		element(&t)
		*to = append(*to, t)
	}
}

// optional reads a field that is an object.
func optional[T any](c *cursor, name string, to **T, fields func(*T)) {
	if c.key(name) {
		*to = new(T)
		object(c, *to, fields)
	}
}

// object reads an object with these fields.
func object[T any](c *cursor, to *T, fields func(*T)) {
	c.open('{')
	fields(to)
	c.take('}')
	c.first = false
}

// run consumes all of these characters that follow.
func (c *cursor) run(chars string) string {
	c.space()
	start := c.i
	for c.i < len(c.s) && strings.IndexByte(chars, c.s[c.i]) >= 0 {
		c.i++
	}
	return c.s[start:c.i]
}

func (c *cursor) str() string {
	c.take('"')
	start, escaped := c.i, false
	for ; c.i < len(c.s); c.i++ {
		switch char := c.s[c.i]; {
		case char == '"' && !escaped:
			c.i++
			return c.s[start : c.i-1]
		case char == '"':
			c.i++
			return c.unescape(c.s[start-1 : c.i])
		case char == '\\':
			escaped = true
			c.i++
		case char < ' ':
			c.lost = true
			return ""
		}
	}
	c.i, c.lost = len(c.s), true // not beyond it: a backslash may be the last character
	return ""
}

// unescape is separate from str because its result is allocated.
func (c *cursor) unescape(quoted string) (s string) {
	if json.Unmarshal([]byte(quoted), &s) != nil {
		c.lost = true
	}
	return s
}
