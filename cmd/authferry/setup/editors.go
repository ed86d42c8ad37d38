package setup

import (
	"cmp"
	"path/filepath"
)

// Programs with a window, which start what is in their file of MCP servers with the
// environment of the desktop or with next to none: what authferry needs of a shell's is
// written down. None of them can ask a helper for headers, or tell it of a 401, so all of
// them get the bridge.

var cursor = Client{
	Name: "cursor", Title: "Cursor", Programs: []string{"cursor"}, Files: noFiles, Clears: true,
	// ~/.cursor/mcp.json, for all projects.
	Remote: func(m Machine, c Choice) (File, error) {
		return stdioEntry(m, c, filepath.Join(m.Home, ".cursor", "mcp.json"), "mcpServers", field{"type", "stdio"}), nil
	},
}

var vscode = Client{
	Name: "vscode", Title: "Visual Studio Code", Programs: []string{"code"}, Files: noFiles, Clears: true,
	// mcp.json of the default profile.
	Remote: func(m Machine, c Choice) (File, error) {
		return stdioEntry(m, c, filepath.Join(appData(m), "Code", "User", "mcp.json"), "servers", field{"type", "stdio"}), nil
	},
}

var claudeDesktop = Client{
	Name: "claude-desktop", Title: "Claude Desktop", Programs: []string{"claude-desktop"}, Files: noFiles, Clears: true,
	Remote: func(m Machine, c Choice) (File, error) {
		return stdioEntry(m, c, filepath.Join(appData(m), "Claude", "claude_desktop_config.json"), "mcpServers"), nil
	},
	Next:  restarting("Claude Desktop"),
	After: func(m Machine) []string { return restarting("Claude Desktop")(m, Choice{}) },
}

var zed = Client{
	Name: "zed", Title: "Zed", Programs: []string{"zed", "zeditor"}, Files: noFiles, Clears: true,
	Remote: func(m Machine, c Choice) (File, error) {
		return stdioEntry(m, c, filepath.Join(zedDir(m), "settings.json"), "context_servers"), nil
	},
}

// stdioEntry has the bridge in a file of JSON whose servers are at in.
func stdioEntry(m Machine, c Choice, path, in string, more ...field) File {
	words := bridge(m, c)
	return serverEntry(m, c, path, []string{in}, append(more, field{"command", words[0]}, field{"args", words[1:]}), "env")
}

func noFiles(Machine, Choice) ([]File, error) { return nil, nil }

func restarting(title string) func(Machine, Choice) []string {
	return func(Machine, Choice) []string {
		return []string{"restart " + title + ": it reads its MCP servers when it starts"}
	}
}

// appData is where programs with a window keep what is theirs.
func appData(m Machine) string {
	switch m.OS {
	case "windows":
		return cmp.Or(m.Getenv("APPDATA"), filepath.Join(m.Home, "AppData", "Roaming"))
	case "darwin":
		return filepath.Join(m.Home, "Library", "Application Support")
	}
	return configHome(m)
}

// zedDir is the same on macOS as elsewhere.
func zedDir(m Machine) string {
	if m.OS == "windows" {
		return filepath.Join(appData(m), "Zed")
	}
	return filepath.Join(configHome(m), "zed")
}

// configHome is as the XDG rules have it.
func configHome(m Machine) string {
	if dir := m.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(m.Home, ".config")
}
