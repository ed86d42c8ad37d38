package setup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tailscale/hujson"

	"github.com/authferry/authferry/rawtext"
)

// Files of JSON, with or without comments, get members. What is inserted goes
// right behind a brace, in the style of what follows, and what is taken out leaves
// every byte as it was. How it is known whether an object that is empty then was
// made for it: one that authferry made has white space behind its brace, and into
// an empty one that it found it puts the member without.

// document is a file of JSON with the places of its values.
type document struct {
	mark, text string
	root       hujson.Value
}

func parseJSON(now []byte) (*document, error) {
	d := new(document)
	d.mark, d.text = cutMark(now)
	if rawtext.Deeper([]byte(d.text), maxDepth) {
		return nil, refuse("it nests more than %d deep; it was left as it is", maxDepth)
	}
	root, err := hujson.Parse([]byte(d.text))
	if err != nil {
		// Not in the parser's words, which quote what stands there: it may be a secret.
		var line, column int
		_, _ = fmt.Sscanf(err.Error(), "hujson: line %d, column %d:", &line, &column)
		return nil, refuse("it is not JSON: line %d, column %d; fix it first; it was left as it is", line, column)
	}
	if _, ok := root.Value.(*hujson.Object); !ok {
		return nil, refuse("it is not a JSON object; it was left as it is")
	}
	d.root = root
	return d, nil
}

// member is where a member of an object stands.
type member struct {
	in    *hujson.Value // an object
	index int
}

func (m member) object() *hujson.Object { return m.in.Value.(*hujson.Object) }

func (m member) value() *hujson.Value { return &m.object().Members[m.index].Value }

// find returns the members along path, as many of them as there are.
func (d *document) find(path []string) (found []member, err error) {
	in := &d.root
	for i, name := range path {
		object, ok := in.Value.(*hujson.Object)
		if !ok {
			return nil, refuse("%q is not an object there; it was left as it is", strings.Join(path[:i], "."))
		}
		index := -1
		for j, m := range object.Members {
			if m.Name.Value.(hujson.Literal).String() == name {
				index = j
			}
		}
		if index < 0 {
			return found, nil
		}
		found = append(found, member{in, index})
		in = &object.Members[index].Value
	}
	return found, nil
}

// decode reads the value at path into v. It reports whether there is one; one of
// another kind is a Refusal.
func (d *document) decode(path []string, v any) (bool, error) {
	found, err := d.find(path)
	if err != nil || len(found) < len(path) {
		return false, err
	}
	value := found[len(path)-1].value().Clone()
	value.Standardize()
	if err := json.Unmarshal(value.Pack(), v); err != nil {
		return true, refuse("%s has a value of the wrong kind; it was left as it is", strings.Join(path, "."))
	}
	return true, nil
}

// othersIn returns the texts in the object at path, as they are written there, but
// for those of its members with these names.
func othersIn(now []byte, path []string, but ...string) (texts []string) {
	d, err := parseJSON(now)
	if err != nil {
		return nil
	}
	found, err := d.find(path)
	if err != nil || len(found) < len(path) {
		return nil
	}
	entry, ok := found[len(path)-1].value().Value.(*hujson.Object)
	if !ok {
		return nil
	}
	for _, m := range entry.Members {
		if slices.Contains(but, m.Name.Value.(hujson.Literal).String()) {
			continue
		}
		for v := range m.Value.All() {
			if text, ok := v.Value.(hujson.Literal); ok && text.Kind() == '"' {
				texts = append(texts, string(text))
			}
		}
	}
	return texts
}

// splice returns the file with text[from:to] replaced.
func (d *document) splice(from, to int, by string) []byte {
	return []byte(d.mark + d.text[:from] + by + d.text[to:])
}

// set gives the member at path that value; objects on the way are made.
func setJSON(now []byte, path []string, value any) ([]byte, error) {
	if now == nil {
		return []byte("{\n  " + memberText(path, value, "\n", "  ", "  ") + "\n}\n"), nil
	}
	d, err := parseJSON(now)
	if err != nil {
		return nil, err
	}
	found, err := d.find(path)
	if err != nil {
		return nil, err
	}
	eol, unit := d.style()
	if len(found) == len(path) {
		at := found[len(path)-1].value()
		old := at.Clone()
		old.BeforeExtra, old.AfterExtra = nil, nil
		old.Minimize()
		if string(old.Pack()) == compact(value) {
			return now, nil
		}
		return d.splice(at.StartOffset, at.EndOffset, pretty(value, eol, lineIndent(d.text[:at.StartOffset]), unit)), nil
	}
	in := &d.root
	if len(found) > 0 {
		in = found[len(found)-1].value()
	}
	object, ok := in.Value.(*hujson.Object)
	if !ok {
		return nil, refuse("%q is not an object there; it was left as it is", strings.Join(path[:len(found)], "."))
	}
	open := in.StartOffset + 1
	rest := path[len(found):]
	if len(object.Members) == 0 {
		return d.splice(open, open, memberText(rest, value, "", "", "")), nil
	}
	space := leadingSpace(d.text[open:])
	if i := strings.LastIndexByte(space, '\n'); i >= 0 {
		return d.splice(open, open, space+memberText(rest, value, eol, space[i+1:], unit)+","), nil
	}
	return d.splice(open, open, space+memberText(rest, value, "", "", "")+","), nil
}

// dropJSON takes the member at path out, and the objects that were made for it
// unless a comment is in them.
func dropJSON(now []byte, path []string) ([]byte, error) {
	d, err := parseJSON(now)
	if err != nil {
		return nil, err
	}
	found, err := d.find(path)
	if err != nil || len(found) < len(path) {
		return now, err
	}
	for {
		m := found[len(found)-1]
		members := m.object().Members
		made := len(members) == 1 && len(members[0].Name.BeforeExtra) > 0 &&
			!comment(members[0].Name.BeforeExtra) && !comment(members[0].Value.AfterExtra) && !comment(m.object().AfterExtra)
		if !made || len(found) == 1 {
			after := d.without(m)
			if made && string(after) == "{\n}\n" {
				return nil, nil
			}
			return after, nil
		}
		found = found[:len(found)-1]
	}
}

// without is the file without one member and its comma.
func (d *document) without(m member) []byte {
	members := m.object().Members
	this := members[m.index]
	from, to := this.Name.StartOffset, this.Value.EndOffset
	comma := to + len(this.Value.AfterExtra)
	followed := comma < len(d.text) && d.text[comma] == ','
	if m.index > 0 && !followed {
		last := members[m.index-1].Value
		return d.splice(last.EndOffset, to, comments(last.AfterExtra)+comments(this.Name.BeforeExtra))
	}
	kept := ""
	if followed {
		to = comma + 1
		kept = comments(this.Value.AfterExtra)
	}
	// The space before it came with it, unless a comment stands there.
	if extra := this.Name.BeforeExtra; !comment(extra) {
		from -= len(extra)
	}
	return d.splice(from, to, kept)
}

// comment reports whether there is more than space between two values.
func comment(extra hujson.Extra) bool { return len(bytes.TrimSpace(extra)) > 0 }

// comments is what stands between two values if that is more than space.
func comments(extra hujson.Extra) string {
	if !comment(extra) {
		return ""
	}
	return strings.TrimRight(string(extra), " \t")
}

// style is how the file ends its lines and how far it indents.
func (d *document) style() (eol, unit string) {
	unit = "  "
	space := leadingSpace(d.text[d.root.StartOffset+1:])
	if i := strings.LastIndexByte(space, '\n'); i >= 0 && space[i+1:] != "" {
		unit = space[i+1:]
	}
	return eolOf(d.text), unit
}

func leadingSpace(text string) string {
	return text[:len(text)-len(strings.TrimLeft(text, " \t\r\n"))]
}

// lineIndent is the indentation of the line that text ends in.
func lineIndent(text string) string {
	line := text[strings.LastIndexByte(text, '\n')+1:]
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}

// memberText writes a member; what path has more than one name of are objects
// around it. Without eol it is one line.
func memberText(path []string, value any, eol, indent, unit string) string {
	var open, end string
	for i, name := range path {
		switch {
		case i == 0:
		case eol == "":
			open, end = open+"{ ", " }"+end
		default:
			end = eol + indent + "}" + end
			indent += unit
			open += "{" + eol + indent
		}
		open += compact(name) + ": "
	}
	if eol == "" {
		return open + compact(value) + end
	}
	return open + pretty(value, eol, indent, unit) + end
}

func compact(value any) string { return strings.TrimSuffix(encode(value, "", ""), "\n") }

// pretty writes a value over several lines where it has several members.
func pretty(value any, eol, indent, unit string) string {
	text := strings.TrimSuffix(encode(value, indent, unit), "\n")
	return strings.ReplaceAll(text, "\n", eol)
}

func encode(value any, indent, unit string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(indent, unit)
	_ = e.Encode(value) // strings, lists and maps of them
	return b.String()
}
