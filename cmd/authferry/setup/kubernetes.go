package setup

import (
	"encoding/json"
	"path/filepath"
	"strings"
)

// kubernetes: client authentication (v1), "exec" of a kubeconfig's user. kubectl rewrites
// the file without comments on every change; so the user is added as text, below the line
// "users:", and recognized without its block.
var kubernetes = Client{
	Name: "kubernetes", Title: "Kubernetes", Programs: []string{"kubectl"}, Asks: true,
	Files: func(m Machine, c Choice) ([]File, error) {
		return []File{{
			Path: kubeConfig(m), Mode: 0o600,
			Put:  func(now []byte) ([]byte, error) { return putKubeUser(now, kubeUser(m, c)) },
			Take: takeKubeUser,
			Current: func(now []byte) bool {
				user := findKubeUser(textOf(now))
				return blockHas(now, "kubernetes", "command: "+quoted(m.Binary)) || user != nil && user.command == m.Binary
			},
		}}, nil
	},
	Next: func(Machine, Choice) []string {
		return []string{"to use it in the current context: kubectl config set-context --current --user=authferry"}
	},
}

// kubeConfig is the file that kubectl changes.
func kubeConfig(m Machine) string {
	first := ""
	for _, path := range filepath.SplitList(m.Getenv("KUBECONFIG")) {
		switch {
		case path == "":
		case exists(path):
			return path
		case first == "":
			first = path
		}
	}
	if first != "" {
		return first
	}
	return filepath.Join(m.Home, ".kube", "config")
}

func kubeUser(m Machine, c Choice) []string {
	words := helper(m, c, "kubernetes")
	return []string{
		"- name: authferry",
		"  user:",
		"    exec:",
		"      apiVersion: client.authentication.k8s.io/v1",
		"      command: " + quoted(words[0]),
		"      args: " + quotedList(words[1:]),
		"      interactiveMode: IfAvailable",
		"      provideClusterInfo: true",
	}
}

var (
	kubeUsers = pattern(`(?m)^users:[ \t]*(\[\]|null|~|\{\})?[ \t]*(#[^\n]*)?\r?(\n|$)`)
	kubeTop   = pattern(`^(#.*|---|[A-Za-z][A-Za-z0-9_-]*:( .*)?|- .*|-|\]|\})$`)
	kubeNamed = pattern(`(?m)^[ \t]*(- )?[ \t]*name:[ \t]*["']?authferry["']?[ \t]*\r?$`)
)

// checkKube refuses files that a change by lines could break.
func checkKube(text string) error {
	if strings.Contains(strings.ReplaceAll(text, "\r\n", "\n"), "\r") {
		return refuse("its lines end in several ways; it was left as it is")
	}
	documents, first, number := 0, true, 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, " \r\n")
		switch {
		case line == "":
		case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
			return refuse("it is not YAML: a line begins with a tab; fix it first; it was left as it is")
		case first && strings.HasPrefix(line, "{"):
			return refuse("it is JSON; it was left as it is").run("kubectl config set-credentials authferry --help # adds one, with --exec-command")
		case line == "---":
			if documents++; documents > 1 || !first {
				return refuse("it has several documents; it was left as it is")
			}
		case line[0] != ' ' && !kubeTop().MatchString(line):
			return refuse("it doesn't look like a kubeconfig, because of line %d; it was left as it is", number)
		default:
			if line[0] != '#' {
				first = false
			}
		}
	}
	return nil
}

func takeKubeUser(now []byte) ([]byte, error) {
	if err := checkKube(textOf(now)); err != nil {
		return nil, err
	}
	rest, err := takeBlock(now, "kubernetes")
	if err != nil || !same(rest, now) {
		return rest, err
	}
	mark, text := cutMark(now)
	user := findKubeUser(text)
	switch {
	case user == nil:
		return now, nil
	case user.alone:
		return []byte(mark + text[:user.list] + "users: []" + eolOf(text) + text[user.end:]), nil
	}
	return []byte(mark + text[:user.start] + text[user.end:]), nil
}

// kubeItem is authferry's user in the list of users, with or without a block.
type kubeItem struct {
	list, start, end int // end is after its last line
	command          string
	alone            bool
}

var kubeArgs = pattern(`["']?helper["']?(?:[ \t]*,|\s+-)\s*["']?kubernetes\b`)

// findKubeUser returns nil if no user calls authferry.
func findKubeUser(text string) *kubeItem {
	place := kubeUsers().FindStringSubmatchIndex(text)
	if len(place) == 0 || place[2] >= 0 {
		return nil
	}
	dash := listIndent(text[place[1]:]) + "- "
	var items []kubeItem
	at := place[1]
	for line := range strings.Lines(text[at:]) {
		start := at
		at += len(line)
		bare := strings.TrimSpace(line)
		if bare == "" || bare[0] == '#' {
			continue
		}
		begins := strings.HasPrefix(line, dash)
		if !begins && (len(items) == 0 || !strings.HasPrefix(line, strings.Repeat(" ", len(dash)))) {
			break
		}
		if begins {
			items = append(items, kubeItem{list: place[0], start: start})
		}
		items[len(items)-1].end = at
	}
	for _, u := range items {
		item := text[u.start:u.end]
		u.command = yamlCommand(item)
		if kubeNamed().MatchString(item) && isOurs(u.command) && kubeArgs().MatchString(item) {
			u.alone = len(items) == 1
			return &u
		}
	}
	return nil
}

// yamlCommand is the value of "command:", which kubectl folds at its spaces.
func yamlCommand(item string) string {
	indent, value := -1, ""
	for line := range strings.Lines(item) {
		bare := strings.TrimLeft(line, " ")
		own := len(line) - len(bare)
		bare = strings.TrimSpace(bare)
		if rest, ok := strings.CutPrefix(bare, "command:"); ok && indent < 0 {
			indent, value = own, strings.TrimSpace(rest)
		} else if indent >= 0 && own > indent {
			value += " " + bare
		} else if indent >= 0 {
			break
		}
	}
	var text string
	switch {
	case json.Unmarshal([]byte(value), &text) == nil:
		return text
	case len(value) > 1 && value[0] == '\'' && value[len(value)-1] == '\'':
		return strings.ReplaceAll(value[1:len(value)-1], "''", "'")
	}
	return strings.Trim(value, `'"`)
}

func putKubeUser(now []byte, user []string) ([]byte, error) {
	rest, err := takeKubeUser(now)
	if err != nil {
		return nil, err
	}
	text := textOf(rest)
	if err := checkKube(text); err != nil { // half of a line ending may be left
		return nil, err
	}
	if kubeNamed().MatchString(text) {
		return nil, refuse("something in it is called authferry already").run("kubectl config delete-user authferry")
	}
	places := kubeUsers().FindAllStringSubmatchIndex(text, -1)
	switch {
	case len(places) > 1, len(places) == 0 && strings.Contains("\n"+text, "\nusers"):
		return nil, refuse("its users are written in a way of their own; it was left as it is").instead("write %q below the line \"users:\" by hand", "- name: authferry")
	case len(places) == 0:
		head := []string{"users:"}
		if strings.TrimSpace(text) == "" {
			head = []string{"apiVersion: v1", "kind: Config", "users:"}
		}
		return addBlock(rest, "kubernetes", "", append(head, user...), len(text)), nil
	}
	at := places[0]
	if at[2] >= 0 {
		return replaceLine(rest, "kubernetes", append([]string{"users:"}, user...), at[0], at[1]), nil
	}
	return addBlock(rest, "kubernetes", listIndent(text[at[1]:]), user, at[1]), nil
}

// listIndent is the indentation of the list at the beginning of text.
func listIndent(text string) string {
	for line := range strings.Lines(text) {
		bare := strings.TrimLeft(line, " ")
		if strings.TrimSpace(bare) == "" || bare[0] == '#' {
			continue
		}
		if bare[0] == '-' {
			return line[:len(line)-len(bare)]
		}
		break
	}
	return ""
}
