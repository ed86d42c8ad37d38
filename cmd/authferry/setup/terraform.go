package setup

import (
	"cmp"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
)

// terraform: CLI Configuration, "Credentials Helpers", also for OpenTofu. There can only be
// one helper; it is a program terraform-credentials-NAME among the plugins.
var terraform = Client{
	Name: "terraform", Title: "Terraform", Programs: []string{"terraform", "tofu"}, Hosts: true, Joins: true,
	Files: func(m Machine, c Choice) ([]File, error) {
		config, plugins := terraformPlaces(m)
		name := "terraform-credentials-authferry"
		if m.OS == "windows" {
			name += ".exe"
		}
		return []File{{
			Path: config, Mode: 0o600,
			Put:     func(now []byte) ([]byte, error) { return putTerraform(c, now) },
			Take:    func(now []byte) ([]byte, error) { return takeTerraform(now, c.Origins) },
			Current: func([]byte) bool { return true },
		}, link(m, filepath.Join(plugins, name)).keptFor(config, c.Origins, takeTerraform)}, nil
	},
}

// putTerraform gives the hosts of c their accounts. The one helper gets all arguments with
// every request, so those for other hosts stay.
func putTerraform(c Choice, now []byte) ([]byte, error) {
	if len(c.Origins) == 0 {
		return nil, ErrNoHosts
	}
	rest, err := takeTerraform(now, nil)
	if err != nil {
		return nil, err
	}
	if other := credentialsHelper().FindStringSubmatch(textOf(rest)); other != nil {
		return nil, refuse("it names the credentials helper %q already, and there can be one", other[1]).instead("take its credentials_helper block out")
	}
	words, err := terraformArgs(now)
	if err != nil {
		return nil, err
	}
	for _, origin := range c.Origins {
		words = setHost(words, terraformHost(origin), cmp.Or(c.Account, c.Pool))
	}
	return putBlock(now, "terraform", terraformBlock(words), len(textOf(now)))
}

// takeTerraform removes the origins, or all if none is named.
func takeTerraform(now []byte, origins []string) ([]byte, error) {
	if err := checkHCL(textOf(now)); err != nil {
		return nil, err
	}
	if len(origins) == 0 {
		return takeBlock(now, "terraform")
	}
	before, err := terraformArgs(now)
	if err != nil {
		return nil, err
	}
	words := before
	for _, origin := range origins {
		words = setHost(words, terraformHost(origin), "")
	}
	switch len(words) {
	case len(before):
		return now, nil
	case 0:
		return takeBlock(now, "terraform")
	}
	return putBlock(now, "terraform", terraformBlock(words), len(textOf(now)))
}

// atFlag says whose token a host gets: HOST=ACCOUNT or HOST=POOL.
const atFlag = "--at"

func terraformBlock(words []string) []string {
	return []string{`credentials_helper "authferry" {`, "  args = " + hclList(words), "}"}
}

// terraformHost is a host as Terraform names it.
func terraformHost(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	return strings.ToLower(host)
}

// setHost is words with that account or pool for a host; empty: without one.
func setHost(words []string, host, name string) []string {
	for i := 0; i+1 < len(words); i++ {
		if words[i] != atFlag {
			continue
		}
		if at, _, _ := strings.Cut(words[i+1], "="); at != host {
			continue
		}
		if name == "" {
			return slices.Concat(words[:i], words[i+2:])
		}
		return slices.Concat(words[:i+1], []string{host + "=" + name}, words[i+2:])
	}
	if name == "" {
		return words
	}
	return slices.Concat(words, []string{atFlag, host + "=" + name})
}

// terraformArgs are the arguments of the helper.
func terraformArgs(now []byte) (words []string, err error) {
	r, err := findBlock(textOf(now), "terraform")
	if err != nil || r == nil {
		return nil, err
	}
	for _, line := range r.body {
		list, ok := strings.CutPrefix(strings.TrimSpace(line), "args = ")
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(strings.NewReplacer("$${", "${", "%%{", "%{").Replace(list)), &words); err != nil {
			return nil, refuse("the args that authferry wrote can't be read any more").run("authferry setup terraform --undo")
		}
	}
	return words, nil
}

func terraformPlaces(m Machine) (config, plugins string) {
	config, plugins = filepath.Join(m.Home, ".terraformrc"), filepath.Join(m.Home, ".terraform.d", "plugins")
	if m.OS == "windows" {
		config, plugins = filepath.Join(m.Getenv("APPDATA"), "terraform.rc"), filepath.Join(m.Getenv("APPDATA"), "terraform.d", "plugins")
	}
	return cmp.Or(m.Getenv("TF_CLI_CONFIG_FILE"), config), plugins
}

var credentialsHelper = pattern(`(?m)^[ \t]*credentials_helper[ \t]+"([^"]*)"`)

// hclList writes strings for HCL, which would otherwise expand templates.
func hclList(words []string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(quotedList(words))
}

// checkHCL refuses files in which an added block would be inside of something else: braces,
// quotes and comments that don't end.
func checkHCL(text string) error {
	depth := 0
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		skip := 0
		switch {
		case text[i] == '{' || text[i] == '[':
			depth++
		case text[i] == '}' || text[i] == ']':
			if depth--; depth < 0 {
				return notHCL
			}
		case text[i] == '#' || strings.HasPrefix(rest, "//"):
			if skip = strings.IndexByte(rest, '\n'); skip < 0 {
				skip = len(rest)
			}
		case strings.HasPrefix(rest, "/*"):
			if skip = strings.Index(rest, "*/"); skip < 0 {
				return notHCL
			}
			skip++
		case text[i] == '"':
			found := hclString().FindString(rest)
			if found == "" {
				return notHCL
			}
			skip = len(found) - 1
		case strings.HasPrefix(rest, "<<"):
			return refuse("it has a heredoc, which can't be edited safely; it was left as it is").instead(`add: credentials_helper "authferry" { args = [] }`)
		}
		i += skip
	}
	if depth != 0 {
		return notHCL
	}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return refuse("it is JSON, not HCL; it was left as it is").instead(`add: "credentials_helper": {"authferry": {"args": []}}`)
	}
	return nil
}

var (
	hclString = pattern(`^"(?:[^"\\\n]|\\.)*"`)
	notHCL    = refuse("it is not HCL: a brace, a quote or a comment doesn't end; fix it first; it was left as it is")
)
