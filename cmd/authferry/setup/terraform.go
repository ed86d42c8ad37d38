package setup

import (
	"cmp"
	"path/filepath"
	"strings"
)

// terraform: CLI Configuration, "Credentials Helpers", which OpenTofu has as well.
// There can be one; it is a program terraform-credentials-NAME among the plugins.
var terraform = Client{
	Name: "terraform", Title: "Terraform", Programs: []string{"terraform", "tofu"},
	Files: func(m Machine, c Choice) ([]File, error) {
		config, plugins := terraformPlaces(m)
		name := "terraform-credentials-authferry"
		if m.OS == "windows" {
			name += ".exe"
		}
		return []File{{
			Path: config, Mode: 0o600,
			Put: func(now []byte) ([]byte, error) {
				rest, err := takeTerraform(now)
				if err != nil {
					return nil, err
				}
				if other := credentialsHelper().FindStringSubmatch(textOf(rest)); other != nil {
					return nil, refuse("it names the credentials helper %q already, and there can be one", other[1]).instead("take its credentials_helper block out")
				}
				return putBlock(now, "terraform", []string{
					`credentials_helper "authferry" {`,
					"  args = " + hclList(c.selection()),
					"}",
				}, len(textOf(now)))
			},
			Take:    takeTerraform,
			Current: func([]byte) bool { return true },
		}, link(m, filepath.Join(plugins, name))}, nil
	},
}

func terraformPlaces(m Machine) (config, plugins string) {
	config, plugins = filepath.Join(m.Home, ".terraformrc"), filepath.Join(m.Home, ".terraform.d", "plugins")
	if m.OS == "windows" {
		config, plugins = filepath.Join(m.Getenv("APPDATA"), "terraform.rc"), filepath.Join(m.Getenv("APPDATA"), "terraform.d", "plugins")
	}
	return cmp.Or(m.Getenv("TF_CLI_CONFIG_FILE"), config), plugins
}

var credentialsHelper = pattern(`(?m)^[ \t]*credentials_helper[ \t]+"([^"]*)"`)

func takeTerraform(now []byte) ([]byte, error) {
	if err := checkHCL(textOf(now)); err != nil {
		return nil, err
	}
	return takeBlock(now, "terraform")
}

// hclList writes strings for HCL, which would fill in templates.
func hclList(words []string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(quotedList(words))
}

// checkHCL looks for what would put an added block inside of something else:
// braces, quotes and comments that don't end.
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
