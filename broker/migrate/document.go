package migrate

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// node is a value in a JSON text, with its place there.
type node struct {
	raw        []byte
	start, end int
	members    []member // of an object
	elements   []*node  // of a list
}

type member struct {
	name  string
	start int // of the name
	value *node
}

// item is one member of an object, or one element of a list.
type item struct {
	parent *node
	index  int
}

var (
	errNotJSON  = errors.New("it is no JSON, or breaks off")
	errRepeated = errors.New("a member stands in it twice, and which one counts is not clear")
)

// parse reads a whole JSON text. Its depth is bounded by json.Valid.
func parse(text []byte) (*node, error) {
	if !json.Valid(text) {
		return nil, errNotJSON
	}
	s := scanner{data: text}
	n := s.value()
	if s.repeated {
		return nil, errRepeated
	}
	return n, nil
}

// scanner walks over a valid text, so it checks nothing.
type scanner struct {
	data     []byte
	at       int
	repeated bool
}

func (s *scanner) skip(cutset string) {
	for s.at < len(s.data) && strings.IndexByte(cutset, s.data[s.at]) >= 0 {
		s.at++
	}
}

const space = " \t\r\n"

func (s *scanner) value() *node {
	s.skip(space)
	n := &node{start: s.at}
	switch s.data[s.at] {
	case '{':
		s.object(n)
	case '[':
		s.at++
		for s.skip(space); s.data[s.at] != ']'; s.skip(space + ",") {
			n.elements = append(n.elements, s.value())
		}
		s.at++
	case '"':
		_ = s.text()
	default:
		for s.at < len(s.data) && strings.IndexByte(space+",]}", s.data[s.at]) < 0 {
			s.at++
		}
	}
	n.end = s.at
	n.raw = s.data[n.start:n.end]
	return n
}

func (s *scanner) object(n *node) {
	s.at++
	names := map[string]bool{}
	for s.skip(space); s.data[s.at] != '}'; s.skip(space + ",") {
		m := member{start: s.at}
		m.name = s.text()
		s.skip(space + ":")
		m.value = s.value()
		s.repeated = s.repeated || names[m.name]
		names[m.name] = true
		n.members = append(n.members, m)
	}
	s.at++
}

func (s *scanner) text() (v string) {
	start := s.at
	for s.at++; s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
	_ = json.Unmarshal(s.data[start:s.at], &v)
	return v
}

func (n *node) kind() byte {
	if n == nil {
		return 0
	}
	return n.raw[0]
}

func (n *node) isObject() bool { return n.kind() == '{' }
func (n *node) isList() bool   { return n.kind() == '[' }

// absent is what says nothing: no member, or null.
func (n *node) absent() bool { return n == nil || n.raw[0] == 'n' }

// get returns a member's value, nil where there is none.
func (n *node) get(name string) *node {
	if i := n.find(name); i >= 0 {
		return n.members[i].value
	}
	return nil
}

func (n *node) find(name string) int {
	if n == nil {
		return -1
	}
	return slices.IndexFunc(n.members, func(m member) bool { return m.name == name })
}

// text is the value of a string, "" of anything else.
func (n *node) text() (s string) {
	if n.kind() == '"' {
		_ = json.Unmarshal(n.raw, &s)
	}
	return s
}

// words is a list of strings, or one string with spaces.
func (n *node) words() []string {
	var all []string
	if n.isList() {
		for _, e := range n.elements {
			if s := e.text(); s != "" {
				all = append(all, s)
			}
		}
		return all
	}
	return strings.Fields(n.text())
}

func (n *node) is(literal string) bool { return n != nil && string(n.raw) == literal }

// number is the value of a number, which may be in quotes; ok is false for anything
// else.
func (n *node) number() (f float64, ok bool) {
	if n == nil {
		return 0, false
	}
	text := string(n.raw)
	if n.kind() == '"' {
		text = n.text()
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsNaN(f)
}

// moment is a member's time; zero where it says none, or none that can be read.
func (n *node) moment() time.Time {
	if n == nil {
		return time.Time{}
	}
	t, _ := Moment(n.raw)
	return t
}

// span is where the i-th member or element of n begins and ends.
func (n *node) span(i int) (start, end int) {
	if n.isObject() {
		return n.members[i].start, n.members[i].value.end
	}
	return n.elements[i].start, n.elements[i].end
}

func (n *node) length() int { return max(len(n.members), len(n.elements)) }

// edit replaces a part of a text.
type edit struct {
	start, end int
	with       string
}

// cutting takes items out of n, each with the comma that goes with it.
func (n *node) cutting(gone map[int]bool) []edit {
	var edits []edit
	keptBefore := false
	for i := range n.length() {
		start, end := n.span(i)
		switch {
		case !gone[i]:
			keptBefore = true
			continue
		case keptBefore:
			_, start = n.span(i - 1)
		case i+1 < n.length():
			end, _ = n.span(i + 1)
		}
		edits = append(edits, edit{start: start, end: end})
	}
	return edits
}

// apply makes the edits, which don't overlap.
func apply(data []byte, edits []edit) []byte {
	slices.SortFunc(edits, func(a, b edit) int { return a.start - b.start })
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, data[at:e.start]...), e.with...)
		at = e.end
	}
	return append(out, data[at:]...)
}
