package setup

import (
	"cmp"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
)

// goose: config.yaml, extensions.NAME. goose rewrites the file without its comments,
// when something is changed in it; so an extension is known by what it starts, and is
// changed as text.
var goose = Client{
	Name: "goose", Title: "goose", Programs: []string{"goose"}, Files: noFiles, Clears: true,
	Remote: func(m Machine, c Choice) (File, error) {
		name := c.Server.entryName()
		return File{
			Path: gooseConfig(m), Mode: 0o600,
			Put: func(now []byte) ([]byte, error) {
				all, err := parseExtensions(now)
				if err != nil {
					return nil, err
				}
				return all.put(name, extension(m, c))
			},
			Take: func(now []byte) ([]byte, error) {
				all, err := parseExtensions(now)
				if err != nil {
					return nil, err
				}
				return all.take(name)
			},
			Servers: func(now []byte) (entries []Entry) {
				all, err := parseExtensions(now)
				if err != nil {
					return nil
				}
				for _, e := range all.items {
					if words := e.words(); words != nil {
						entries = append(entries, Entry{e.name, words, e.text(folderVariable)})
					}
				}
				slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
				return entries
			},
			Current: func(now []byte) bool {
				all, err := parseExtensions(now)
				return err == nil && all.find(name) != nil && all.find(name).words() != nil && all.find(name).words()[0] == m.Binary
			},
		}, nil
	},
}

func gooseConfig(m Machine) string {
	if m.OS == "windows" {
		return filepath.Join(appData(m), "Block", "goose", "config", "config.yaml")
	}
	return filepath.Join(configHome(m), "goose", "config.yaml")
}

// extension are the lines below the name of an extension.
func extension(m Machine, c Choice) []string {
	words := bridge(m, c)
	lines := []string{
		"enabled: true",
		"type: stdio",
		"name: " + quoted(c.Server.entryName()),
		"description: " + quoted("MCP server at "+c.Server.Address),
		"cmd: " + quoted(words[0]),
		"args: " + quotedList(words[1:]),
	}
	if len(c.Env) > 0 {
		lines = append(lines, "envs:")
	}
	for _, assignment := range c.Env {
		variable, value, _ := strings.Cut(assignment, "=")
		lines = append(lines, "  "+variable+": "+quoted(value))
	}
	return append(lines, "timeout: 300")
}

// extensions are those of goose, and where they are in the file.
type extensions struct {
	now        []byte
	mark, text string
	start, end int    // of the line "extensions:", and behind its last extension
	first      int    // behind that line
	made       string // what authferry has written behind it, if it made it
	indent     string
	items      []extensionItem
}

type extensionItem struct {
	name       string
	start, end int
	lines      []string // below its name
}

// What stands behind a line "extensions:" that was made for a server.
const (
	madeLine  = "# made by authferry setup"
	madeEmpty = "# made by authferry setup, instead of {}"
	madeFile  = "# made by authferry setup, with this file"
)

var (
	extensionsLine = pattern(`(?m)^["']?extensions["']?:[ \t]*([^\r\n]*?)[ \t]*\r?(\n|$)`)
	extensionName  = pattern(`^( +)(?:"([^"\\]*)"|'([^']*)'|([^"'#{\[&*!|>%@` + "`" + `\s][^:#]*)):[ \t]*(?:#.*)?$`)
)

func parseExtensions(now []byte) (*extensions, error) {
	mark, text := cutMark(now)
	e := &extensions{now: now, mark: mark, text: text, start: -1, indent: "  "}
	if err := checkYAML(text); err != nil {
		return nil, err
	}
	places := extensionsLine().FindAllStringSubmatchIndex(text, -1)
	switch {
	case len(places) > 1:
		return nil, refuse("it has extensions twice; it was left as it is")
	case len(places) == 0:
		return e, nil
	}
	at := places[0]
	e.start, e.first, e.end = at[0], at[1], at[1]
	switch said := text[at[2]:at[3]]; {
	case said == madeLine, said == madeEmpty, said == madeFile:
		e.made = said
	case said == "" || said[0] == '#' || said == "{}" || said == "null" || said == "~":
	default:
		return nil, refuse("its extensions are written in a way that can't be changed as text").instead("write each extension on lines of its own")
	}
	return e, e.read()
}

// read finds the extensions below their line.
func (e *extensions) read() error {
	at, indent := e.first, ""
	for line := range strings.Lines(e.text[e.first:]) {
		start := at
		at += len(line)
		bare := strings.TrimRight(line, " \t\r\n")
		if bare == "" || strings.TrimLeft(bare, " ")[0] == '#' {
			continue
		}
		if bare[0] != ' ' {
			break
		}
		own := bare[:len(bare)-len(strings.TrimLeft(bare, " "))]
		if indent == "" {
			indent, e.indent = own, own
		}
		switch {
		case own == indent:
			m := extensionName().FindStringSubmatch(bare)
			if m == nil {
				return refuse("its extensions are written in a way that can't be changed as text").instead("write each extension on lines of its own")
			}
			e.items = append(e.items, extensionItem{name: cmp.Or(m[2], m[3], m[4]), start: start})
		case !strings.HasPrefix(own, indent):
			return refuse("it is not YAML: its extensions are indented in several ways; fix it first; it was left as it is")
		default:
			last := &e.items[len(e.items)-1]
			last.lines = append(last.lines, bare)
		}
		e.items[len(e.items)-1].end, e.end = at, at
	}
	return nil
}

// checkYAML looks for what a change by lines could break.
func checkYAML(text string) error {
	if strings.Contains(strings.ReplaceAll(text, "\r\n", "\n"), "\r") {
		return refuse("its lines end in several ways; it was left as it is")
	}
	begun := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \r\n")
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
			return refuse("it is not YAML: a line begins with a tab; fix it first; it was left as it is")
		case strings.HasPrefix(line, "---") && begun, line == "...":
			return refuse("it has several documents; it was left as it is")
		case !begun && strings.ContainsAny(line[:1], "{[ "):
			return refuse("it has no plain settings at its beginning; it was left as it is")
		default:
			begun = begun || line != "---"
		}
	}
	return nil
}

func (e *extensions) find(name string) *extensionItem {
	for i := range e.items {
		if e.items[i].name == name {
			return &e.items[i]
		}
	}
	return nil
}

// words are what the extension starts, if that is the bridge; else nil.
func (x *extensionItem) words() []string {
	words := []string{""}
	args := -1 // the indent of a list in lines of its own
	for _, line := range x.lines {
		bare := strings.TrimLeft(line, " ")
		own := len(line) - len(bare)
		item, listed := strings.CutPrefix(bare, "- ")
		if args >= 0 && listed && own >= args {
			words = append(words, yamlText(item))
			continue
		}
		args = -1
		if value, ok := strings.CutPrefix(bare, "cmd:"); ok {
			words[0] = yamlText(value)
		} else if value, ok := strings.CutPrefix(bare, "args:"); ok {
			var list []string
			if value = strings.TrimSpace(value); value == "" {
				args = own
			} else if json.Unmarshal([]byte(value), &list) == nil {
				words = append(words, list...)
			}
		}
	}
	if !callsBridge(words) {
		return nil
	}
	return words
}

// text is the first value of that name in the extension; empty: it has none.
func (x *extensionItem) text(name string) string {
	for _, line := range x.lines {
		if value, ok := strings.CutPrefix(strings.TrimLeft(line, " "), name+":"); ok {
			return yamlText(value)
		}
	}
	return ""
}

// yamlText is a text as YAML has it on one line.
func yamlText(value string) string {
	value = strings.TrimSpace(value)
	var text string
	switch {
	case json.Unmarshal([]byte(value), &text) == nil:
		return text
	case len(value) > 1 && value[0] == '\'' && value[len(value)-1] == '\'':
		return strings.ReplaceAll(value[1:len(value)-1], "''", "'")
	}
	return value
}

func (e *extensions) put(name string, lines []string) ([]byte, error) {
	eol := eolOf(e.text)
	block := func(indent string) string {
		below := eol + indent + "  "
		return indent + name + ":" + below + strings.Join(lines, below) + eol
	}
	old := e.find(name)
	switch {
	case old != nil && old.words() == nil:
		return nil, refuse("extension %q is there already, and not from authferry setup", name).instead("take it out of that file")
	case old != nil:
		return e.splice(old.start, old.end, block(e.indent)), nil
	case e.now == nil:
		return []byte("extensions: " + madeFile + "\n" + block("  ")), nil
	case e.start < 0:
		return e.splice(len(e.text), len(e.text), "extensions: "+madeLine+eol+block("  ")), nil
	}
	line := strings.TrimRight(e.text[e.start:e.first], "\r\n")
	if empty, ok := strings.CutSuffix(line, "{}"); ok {
		return e.splice(e.start, e.first, strings.TrimRight(empty, " \t")+" "+madeEmpty+eol+block("  ")), nil
	}
	return e.splice(e.end, e.end, block(e.indent)), nil
}

func (e *extensions) take(name string) ([]byte, error) {
	old := e.find(name)
	if old == nil || old.words() == nil {
		return e.now, nil
	}
	alone := len(e.items) == 1 && strings.TrimSpace(e.text[e.first:old.start]+e.text[old.end:e.end]) == ""
	switch {
	case alone && e.made == madeFile && strings.TrimSpace(e.text[:e.start]+e.text[old.end:]) == "":
		return nil, nil
	case alone && e.made == madeEmpty:
		return e.splice(e.start, old.end, strings.Replace(e.text[e.start:e.first], madeEmpty, "{}", 1)), nil
	case alone && e.made != "":
		return e.splice(e.start, old.end, ""), nil
	}
	return e.splice(old.start, old.end, ""), nil
}

// splice puts by, which is whole lines, in the place of whole lines. Where the file's last
// line has no end, it has none afterwards.
func (e *extensions) splice(from, to int, by string) []byte {
	before, after := e.text[:from], e.text[to:]
	if after == "" && e.text != "" && !strings.HasSuffix(e.text, "\n") {
		eol := eolOf(e.text)
		if from == to {
			before += eol
		}
		return []byte(e.mark + strings.TrimSuffix(before+by, eol))
	}
	return []byte(e.mark + before + by + after)
}
