package source

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailscale/hujson"

	"github.com/authferry/authferry/rawtext"
)

// node is a value in a JSON text, with its position.
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
	errNotJSON  = errors.New("it is not complete JSON")
	errRepeated = errors.New("a key occurs twice in it, so it is ambiguous")
)

// parse reads a whole JSON text. Unlike hujson alone it accepts no comments. json.Valid
// limits its depth.
func parse(text []byte) (*node, error) {
	if !json.Valid(text) {
		return nil, errNotJSON
	}
	v, err := hujson.Parse(text)
	if err != nil {
		return nil, errNotJSON
	}
	return nodeOf(text, &v)
}

func nodeOf(text []byte, v *hujson.Value) (*node, error) {
	n := &node{raw: text[v.StartOffset:v.EndOffset], start: v.StartOffset, end: v.EndOffset}
	switch v := v.Value.(type) {
	case *hujson.Object:
		names := map[string]bool{}
		for i := range v.Members {
			m := &v.Members[i]
			value, err := nodeOf(text, &m.Value)
			if err != nil {
				return nil, err
			}
			name := m.Name.Value.(hujson.Literal).String()
			if names[name] {
				return nil, errRepeated
			}
			names[name] = true
			n.members = append(n.members, member{name, m.Name.StartOffset, value})
		}
	case *hujson.Array:
		for i := range v.Elements {
			element, err := nodeOf(text, &v.Elements[i])
			if err != nil {
				return nil, err
			}
			n.elements = append(n.elements, element)
		}
	}
	return n, nil
}

func (n *node) kind() byte {
	if n == nil {
		return 0
	}
	return n.raw[0]
}

func (n *node) isObject() bool { return n.kind() == '{' }
func (n *node) isList() bool   { return n.kind() == '[' }

// absent reports whether n is missing or null.
func (n *node) absent() bool { return n == nil || n.raw[0] == 'n' }

// get returns a member's value; nil if there is none.
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

// text is the value of a string; "" for anything else.
func (n *node) text() (s string) {
	if n.kind() == '"' {
		_ = json.Unmarshal(n.raw, &s)
	}
	return s
}

// words reads a list of strings, or one string with spaces.
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

// number is the value of a number, which may be in quotes; ok is false for anything else.
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

// moment is the time in a member; zero if there is none that can be read.
func (n *node) moment() time.Time {
	if n == nil {
		return time.Time{}
	}
	t, _ := rawtext.Moment(n.raw)
	return t
}

// span is the position of the i-th member or element of n.
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

// cutting removes items from n, each with its comma.
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

// apply makes the edits, which must not overlap.
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
