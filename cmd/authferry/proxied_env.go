package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/tailscale/hujson"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/keystore"
)

// proxied is what a command is told about its proxy.
type proxied struct {
	served  servedProviders
	program string
	url     string // of the proxy, without a slash at the end
	key     keystore.Secret
}

// keyVariable has the proxy's key; nothing else in authferry reads it.
const keyVariable = "AUTHFERRY_PROXY_KEY"

// otherWays are the variables by which clients find a key, a base URL, a socket or a cloud
// of their own. A name that ends in "*" is a prefix.
var otherWays = map[string][]string{
	"anthropic": {
		"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_UNIX_SOCKET", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_PROFILE",
		"ANTHROPIC_BEDROCK_*", "ANTHROPIC_VERTEX_*", "ANTHROPIC_FOUNDRY_*", "ANTHROPIC_AWS_*", "ANTHROPIC_IDENTITY_TOKEN*", "AWS_BEARER_TOKEN_BEDROCK",
		"CLAUDE_CODE_USE_*", "CLAUDE_CODE_SKIP_*_AUTH", "CLAUDE_CODE_OAUTH_*", "CLAUDE_CODE_API_KEY_*", "CLAUDE_CODE_API_BASE_URL", "CLAUDE_CODE_CUSTOM_OAUTH_URL",
	},
	"openai": {
		"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_HOST", "OPENAI_ADMIN_KEY", "OPENAI_API_TYPE", "OPENAI_ORG_ID", "OPENAI_ORGANIZATION",
		"OPENAI_PROJECT_ID", "OPENAI_PROJECT", "AZURE_OPENAI_*", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN",
	},
	"google": {
		"GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI",
		"GOOGLE_GENAI_USE_GCA", "GOOGLE_CLOUD_ACCESS_TOKEN", "CODE_ASSIST_ENDPOINT", "GEMINI_CLI_CUSTOM_HEADERS", "GEMINI_CLI_USE_COMPUTE_ADC", "CLOUD_SHELL",
	},
	"": {keyVariable, "AUTHFERRY_PROXY_URL", "AUTHFERRY_PROXY_URL_*"}, // of an outer run
}

// matches reports whether a variable is one of the names.
func matches(names []string, variable string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		before, after, pattern := strings.Cut(name, "*")
		if !pattern {
			return containsName([]string{name}, variable)
		}
		return len(variable) >= len(before)+len(after) && strings.HasPrefix(variable, before) && strings.HasSuffix(variable, after)
	})
}

// environment is env for the command, with the proxy as the only way to a key.
func (p *proxied) environment(env []string) []string {
	taken := otherWays[""]
	for _, s := range p.served {
		taken = append(slices.Clone(taken), otherWays[s.name]...)
	}
	var out []string
	behindProxy := false
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		behindProxy = behindProxy || value != "" && slices.Contains([]string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}, strings.ToUpper(name))
		if !matches(taken, name) {
			out = append(out, e)
		}
	}
	if behindProxy { // this proxy isn't that of the gateway
		out = reachDirectly(out)
	}
	key := p.key.Reveal()
	set := func(name, value string) { out = append(out, name+"="+value) }
	set(keyVariable, key)
	for _, s := range p.served {
		url := p.url + "/" + s.name
		set("AUTHFERRY_PROXY_URL_"+variableName(s.name), url)
		if len(p.served) == 1 {
			set("AUTHFERRY_PROXY_URL", url)
		}
		switch s.name {
		case "anthropic":
			set("ANTHROPIC_BASE_URL", url)
			if s.logins {
				set("CLAUDE_CODE_OAUTH_TOKEN", key) // tells Claude Code that it is a subscription
			}
			if !s.logins || p.program != "claude" {
				set("ANTHROPIC_AUTH_TOKEN", key)
			}
		case "openai":
			set("OPENAI_BASE_URL", url+"/v1")
			set("OPENAI_API_KEY", key)
		case "google":
			set("GOOGLE_GEMINI_BASE_URL", url)
			set("GEMINI_API_KEY", key)
		}
	}
	if p.program == "opencode" {
		out = p.openCode(out)
	}
	if p.program == "gemini" && p.serves("google") {
		// Gemini CLI takes from .env files what its environment doesn't have, so these are
		// set empty.
		for _, name := range otherWays["google"] {
			if !slices.ContainsFunc(out, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
				set(name, "")
			}
		}
	}
	return out
}

func variableName(provider string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(provider))
}

// reachDirectly adds this machine to the hosts that are reached without the network's
// proxy.
func reachDirectly(env []string) []string {
	const here = "127.0.0.1,localhost"
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		switch {
		case i < 0:
			env = append(env, name+"="+here)
		case env[i] == name+"=":
			env[i] += here
		default:
			env[i] += "," + here
		}
	}
	return env
}

// arguments is the command with flags that override its own settings, but never the key.
// notes are for the person.
func (p *proxied) arguments(command []string) (argv, notes []string) {
	var own []string
	switch p.program {
	case "claude":
		if !p.serves("anthropic") {
			return command, nil
		}
		if slices.ContainsFunc(command[1:], func(arg string) bool { return arg == "--settings" || strings.HasPrefix(arg, "--settings=") }) {
			return command, []string{"--settings is yours, so a base URL, token or apiKeyHelper in your settings files is not overridden"}
		}
		key, helper := p.claudeKey(), ""
		home, _ := os.UserHomeDir()
		if path := claudeSettingsFile(key, os.Getenv("CLAUDE_CONFIG_DIR"), home); path != "" {
			if runtime.GOOS == "windows" {
				notes = append(notes, path+" sets "+key+", which wins over the key of this proxy; take it out there")
			} else { // then by a helper, which has the lowest priority but is all that is left
				key, helper = "", "printenv "+keyVariable
			}
		}
		own = []string{"--settings", p.claudeSettings(key, helper)}
	case "codex":
		if !p.serves("openai") {
			return command, nil
		}
		for _, setting := range []string{
			`model_provider="authferry"`, `model_providers.authferry.name="authferry"`,
			`model_providers.authferry.base_url="` + p.url + `/openai/v1"`,
			`model_providers.authferry.wire_api="responses"`, `model_providers.authferry.env_key="` + keyVariable + `"`,
		} {
			own = append(own, "-c", setting)
		}
	case "gemini": // neither its own flags nor a person's files override its settings
		home, _ := os.UserHomeDir()
		if note := geminiNote(cmp.Or(os.Getenv("GEMINI_CLI_HOME"), home)); note != "" && p.serves("google") {
			notes = append(notes, note)
		}
	}
	return slices.Concat(command[:1], own, command[1:]), notes
}

func (p *proxied) serves(provider string) bool { return slices.Contains(p.served.names(), provider) }

// claudeSettings overrides every settings file but a managed one: an env block in a file
// would override the environment, and a helper would send this proxy a real key. Empty
// values count as not set. key is the variable that has to stay; helper is a command that
// prints its value.
func (p *proxied) claudeSettings(key, helper string) string {
	env := map[string]string{"ANTHROPIC_BASE_URL": p.url + "/anthropic"}
	for _, name := range []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"} {
		if name != key {
			env[name] = ""
		}
	}
	for _, name := range []string{"ANTHROPIC_UNIX_SOCKET", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"} {
		env[name] = ""
	}
	text, _ := json.Marshal(map[string]any{"env": env, "apiKeyHelper": helper})
	return string(text)
}

// claudeKey is the variable in which Claude Code gets the proxy's key. It is not set on the
// command line, where every user could read it.
func (p *proxied) claudeKey() string {
	i := slices.IndexFunc(p.served, func(s servedProvider) bool { return s.name == "anthropic" })
	if p.served[i].logins {
		return "CLAUDE_CODE_OAUTH_TOKEN"
	}
	return "ANTHROPIC_AUTH_TOKEN"
}

// claudeSettingsFile is a file that sets another value for that variable; empty: there is
// none.
func claudeSettingsFile(variable, configDir, home string) string {
	if configDir == "" {
		configDir = filepath.Join(home, ".claude")
	}
	for _, path := range []string{filepath.Join(configDir, "settings.json"), filepath.Join(".claude", "settings.json"), filepath.Join(".claude", "settings.local.json")} {
		var doc struct {
			Env map[string]any `json:"env"`
		}
		data, err := atomicfile.Read(path, 1<<20)
		if err == nil && json.Unmarshal(data, &doc) == nil && doc.Env[variable] != nil {
			return path
		}
	}
	return ""
}

// openCodeVariable has configuration that OpenCode adds to its files.
const openCodeVariable = "OPENCODE_CONFIG_CONTENT"

// openCode adds the proxy to that, because OpenCode needs another base URL than Claude Code
// and doesn't read the key from the same variable. Other settings in it are kept.
func (p *proxied) openCode(env []string) []string {
	config := map[string]any{}
	env = slices.Clone(env)
	i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, openCodeVariable+"=") })
	if i >= 0 {
		if plain, err := hujson.Standardize([]byte(env[i][len(openCodeVariable)+1:] + "\n")); err != nil || json.Unmarshal(plain, &config) != nil {
			return env // OpenCode reports that
		}
		env = slices.Delete(env, i, i+1)
	}
	table := func(in map[string]any, key string) map[string]any {
		t, ok := in[key].(map[string]any)
		if !ok {
			t = map[string]any{}
			in[key] = t
		}
		return t
	}
	for name, version := range map[string]string{"anthropic": "/v1", "openai": "/v1", "google": "/v1beta"} {
		if p.serves(name) {
			options := table(table(table(config, "provider"), name), "options")
			options["baseURL"], options["apiKey"] = p.url+"/"+name+version, "{env:"+keyVariable+"}"
		}
	}
	text, _ := json.Marshal(config)
	return append(env, openCodeVariable+"="+string(text))
}

// geminiNote says what keeps Gemini CLI from asking this proxy: only with this setting
// does it take both a base URL and a key from its environment. Empty: nothing does.
func geminiNote(home string) string {
	const wanted = "gemini-api-key"
	own := filepath.Join(home, ".gemini", "settings.json")
	for _, path := range []string{geminiSystemSettings(), filepath.Join(".gemini", "settings.json"), own} {
		var doc struct {
			Security struct {
				Auth struct {
					SelectedType string `json:"selectedType"`
				} `json:"auth"`
			} `json:"security"`
		}
		data, err := atomicfile.Read(path, 1<<20)
		if plain, err := hujson.Standardize(append(data, '\n')); err == nil {
			data = plain
		}
		if err != nil || json.Unmarshal(data, &doc) != nil {
			continue
		}
		switch how := doc.Security.Auth.SelectedType; how {
		case "":
		case wanted:
			return ""
		default:
			return fmt.Sprintf("Gemini CLI will not use this proxy: %s has %q as security.auth.selectedType; change it to %q", printable(path), how, wanted)
		}
	}
	return fmt.Sprintf(`Gemini CLI may refuse to start: set {"security": {"auth": {"selectedType": %q}}} in %s`, wanted, printable(own))
}

func geminiSystemSettings() string {
	if path := os.Getenv("GEMINI_CLI_SYSTEM_SETTINGS_PATH"); path != "" {
		return path
	}
	switch runtime.GOOS {
	case "darwin":
		return "/Library/Application Support/GeminiCli/settings.json"
	case "windows":
		return `C:\ProgramData\gemini-cli\settings.json`
	}
	return "/etc/gemini-cli/settings.json"
}
