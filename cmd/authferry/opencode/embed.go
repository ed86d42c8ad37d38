// Package opencode holds the plugin that lets OpenCode use authferry's accounts: one
// JavaScript file without dependencies, which the program carries and writes out.
package opencode

import (
	"bytes"
	_ "embed"
	"encoding/json"
)

//go:embed plugin.js
var source []byte

// Settings are what a written plugin knows of this machine.
type Settings struct {
	Binary    string               `json:"binary"`    // absolute path of authferry
	Providers map[string]Selection `json:"providers"` // OpenCode's provider ids, and whose accounts serve them
}

// Selection is which accounts serve a provider. Pool and Account are seldom set:
// without them a directory's binding and the environment decide.
type Selection struct {
	Provider string `json:"provider"`
	Pool     string `json:"pool,omitempty"`
	Account  string `json:"account,omitempty"`
}

// The first line of the file says whose it is, the second holds the settings.
const setting = "const SETTINGS = "

// Plugin returns the file with s in it.
func Plugin(s Settings) ([]byte, error) {
	line, err := json.Marshal(s) // escapes what would end a line of JavaScript
	if err != nil {
		return nil, err
	}
	first, _, rest := cut(source)
	return bytes.Join([][]byte{first, append([]byte(setting), line...), rest}, []byte("\n")), nil
}

// Read returns the settings of a plugin that any version wrote. It reports false
// for a file that isn't authferry's.
func Read(file []byte) (Settings, bool) {
	var s Settings
	first, line, _ := cut(bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n")))
	own, _, _ := cut(source)
	if !bytes.Equal(first, own) {
		return s, false
	}
	if text, ok := bytes.CutPrefix(line, []byte(setting)); !ok || json.Unmarshal(text, &s) != nil {
		return Settings{}, true
	}
	return s, true
}

// cut splits a file into its first line, its second one and the rest.
func cut(file []byte) (first, second, rest []byte) {
	first, rest, _ = bytes.Cut(file, []byte("\n"))
	second, rest, _ = bytes.Cut(rest, []byte("\n"))
	return first, second, rest
}
