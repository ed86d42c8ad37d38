package setup

import (
	"bytes"
	"cmp"
	"html"
	"path/filepath"
	"strings"
)

// proxyService has the person's session start authferry serve: systemd's user manager on
// Linux, launchd on macOS. On Windows a command for the Task Scheduler does it, which a
// person runs: no file of it is anybody's to write.
var proxyService = Client{
	Name: "serve", Title: "authferry serve, with every session", Programs: []string{"systemctl", "launchctl", "schtasks"},
	Files: func(m Machine, c Choice) ([]File, error) {
		switch m.OS {
		case "darwin":
			f := wholeFile(agentPath(m), func() ([]byte, error) { return agent(m, c), nil }, agentWord(m.Binary))
			f.Proxy = func(now []byte) string {
				_, word, found := strings.Cut(string(now), agentWord("--listen")+"\n\t\t<string>")
				if word, _, _ = strings.Cut(word, "</string>"); !found {
					word = DefaultListen
				}
				return urlAt(word)
			}
			return []File{f}, nil
		case "windows":
			return nil, nil
		}
		dir := unitDir(m)
		socket, service := filepath.Join(dir, socketUnit), filepath.Join(dir, serviceUnit)
		unit := func(text string) func() ([]byte, error) {
			return func() ([]byte, error) {
				if _, err := m.LookPath("systemctl"); err != nil {
					return nil, refuse("there is no systemd here to start it").run("authferry serve")
				}
				if strings.ContainsAny(m.Binary, `"'\`+"\n") {
					return nil, refuse("systemd starts no program that has a quote in its path").instead("move authferry elsewhere")
				}
				return []byte(text), nil
			}
		}
		address := wholeFile(socket, unit(socketText(c)), "")
		address.Proxy = func(now []byte) string {
			_, word, _ := strings.Cut(string(now), "\nListenStream=")
			word, _, _ = strings.Cut(word, "\n")
			if strings.HasPrefix(word, "/") {
				word = "unix:" + strings.ReplaceAll(word, "%%", "%")
			}
			return urlAt(word)
		}
		return []File{
			address,
			wholeFile(service, unit(serviceText(m, c)), "ExecStart="+unitQuoted(m.Binary)+" serve"),
			enabled(filepath.Join(dir, "sockets.target.wants", socketUnit), socket),
			enabled(filepath.Join(dir, "default.target.wants", serviceUnit), service),
		}, nil
	},
	Next: func(m Machine, c Choice) []string {
		if m.OS == "windows" {
			return []string{
				"to start it with every session: schtasks /Create /F /SC ONLOGON /TN authferry /TR " + taskWord(serveWords(m, c)),
				"to start it now: " + StartService(m),
			}
		}
		return []string{"to start it now: " + StartService(m)}
	},
	After: func(m Machine) []string {
		switch m.OS {
		case "darwin":
			return []string{"to end it now: launchctl bootout gui/$(id -u)/" + agentLabel}
		case "windows":
			return []string{"to take it out of the Task Scheduler: schtasks /End /TN authferry & schtasks /Delete /F /TN authferry"}
		}
		return []string{"to end it now: systemctl --user stop " + socketUnit + " " + serviceUnit + "; systemctl --user daemon-reload"}
	},
}

// StartService is the command that starts, before the next session does, what was set up.
func StartService(m Machine) string {
	switch m.OS {
	case "darwin":
		return "launchctl bootstrap gui/$(id -u) " + shellWord(m, agentPath(m))
	case "windows":
		return "schtasks /Run /TN authferry"
	}
	return "systemctl --user daemon-reload && systemctl --user restart " + socketUnit + " " + serviceUnit
}

const (
	socketUnit  = "authferry.socket"
	serviceUnit = "authferry.service"
	agentLabel  = "com.github.authferry.serve"
)

// DefaultListen is where serve listens, and where clients are set up to look.
const DefaultListen = "127.0.0.1:8417"

// urlAt is the URL of a serve that listens at an address.
func urlAt(listen string) string {
	if listen == "" || strings.HasPrefix(listen, "unix:") {
		return listen
	}
	return "http://" + listen
}

// serviceMark is in every file that authferry setup serve wrote.
const serviceMark = "Written by authferry setup serve, which takes it away again if asked to undo."

func unitDir(m Machine) string {
	config := m.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) {
		config = filepath.Join(m.Home, ".config")
	}
	return filepath.Join(config, "systemd", "user")
}

func agentPath(m Machine) string {
	return filepath.Join(m.Home, "Library", "LaunchAgents", agentLabel+".plist")
}

// wholeFile is a file that is authferry's as a whole. One with current in it is as this
// authferry would write it.
func wholeFile(path string, text func() ([]byte, error), current string) File {
	ours := func(now []byte) bool { return bytes.Contains(now, []byte(serviceMark)) }
	return File{
		Path: path, Mode: 0o644,
		Put: func(now []byte) ([]byte, error) {
			if now != nil && !ours(now) {
				return nil, refuse("it is there already, and is not from authferry setup").instead("move %s away", path)
			}
			return text()
		},
		Take: func(now []byte) ([]byte, error) {
			if ours(now) {
				return nil, nil
			}
			return now, nil
		},
		Current: func(now []byte) bool { return bytes.Contains(now, []byte(current)) },
	}
}

// enabled is the link by which systemd starts a unit, as systemctl enable makes it.
func enabled(path, unit string) File {
	f := link(Machine{Binary: unit}, path)
	f.Optional = true // somebody may rather start it by hand
	return f
}

// serveWords is the command that is to run.
func serveWords(m Machine, c Choice) []string {
	words := []string{m.Binary, "serve"}
	if c.Provider != "" {
		words = append(words, c.Provider)
	}
	words = append(words, c.selection()...)
	if c.Listen != "" && m.OS != "linux" {
		words = append(words, "--listen", c.Listen)
	}
	return words
}

// serveEnv is what tells authferry where the accounts are, if something does: no session's
// manager knows a shell's variables.
func serveEnv(m Machine) (names, values []string) {
	for _, name := range []string{"AUTHFERRY_DIR", "AUTHFERRY_KEYSTORE", "AUTHFERRY_KEY_FILE"} {
		if value := m.Getenv(name); value != "" {
			if abs, err := filepath.Abs(value); err == nil && name != "AUTHFERRY_KEYSTORE" {
				value = abs
			}
			names, values = append(names, name), append(values, value)
		}
	}
	return names, values
}

func socketText(c Choice) string {
	stream := cmp.Or(c.Listen, DefaultListen)
	more := ""
	if path, ok := strings.CutPrefix(stream, "unix:"); ok {
		stream, more = unitPath(path), "SocketMode=0600\nDirectoryMode=0700\nRemoveOnStop=yes\n"
	}
	return "# " + serviceMark + `
[Unit]
Description=The address of authferry serve

[Socket]
ListenStream=` + stream + "\n" + more + `
[Install]
WantedBy=sockets.target
`
}

// serviceText: a refresh that is under way when serve ends has to end by itself, so no
// process but serve is ever killed.
func serviceText(m Machine, c Choice) string {
	words := []string{unitQuoted(m.Binary)} // in which systemd replaces no variable
	for _, w := range serveWords(m, c)[1:] {
		words = append(words, unitQuoted(strings.ReplaceAll(w, "$", "$$")))
	}
	var env strings.Builder
	names, values := serveEnv(m)
	for i, name := range names {
		env.WriteString("Environment=" + unitQuoted(name+"="+values[i]) + "\n")
	}
	return "# " + serviceMark + `
# What you change here is lost with the next set-up: systemctl --user edit ` + serviceUnit + `
[Unit]
Description=authferry serve
Requires=` + socketUnit + `
After=` + socketUnit + `

[Service]
Type=notify
ExecStart=` + strings.Join(words, " ") + "\n" + env.String() + `Restart=on-failure
RestartSec=5
RestartPreventExitStatus=3 9 80
KillMode=process
TimeoutStopSec=45

[Install]
WantedBy=default.target
`
}

// unitQuoted writes text in quotes where it needs them, as systemd.syntax has it.
func unitQuoted(text string) string {
	text = strings.ReplaceAll(text, "%", "%%")
	plain := !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`"'\;`, r) })
	if plain && text != "" {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(text) + `"`
}

// unitPath writes a path that stands for itself.
func unitPath(path string) string { return strings.ReplaceAll(path, "%", "%%") }

func agent(m Machine, c Choice) []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- ` + serviceMark + ` -->
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>` + agentLabel + `</string>
	<key>ProgramArguments</key>
	<array>
`)
	for _, w := range serveWords(m, c) {
		b.WriteString("\t\t" + agentWord(w) + "\n")
	}
	b.WriteString("\t</array>\n")
	if names, values := serveEnv(m); len(names) > 0 {
		b.WriteString("\t<key>EnvironmentVariables</key>\n\t<dict>\n")
		for i, name := range names {
			b.WriteString("\t\t<key>" + name + "</key>\n\t\t" + agentWord(values[i]) + "\n")
		}
		b.WriteString("\t</dict>\n")
	}
	b.WriteString(`	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<dict>
		<key>SuccessfulExit</key>
		<false/>
	</dict>
	<key>AbandonProcessGroup</key>
	<true/>
	<key>ExitTimeOut</key>
	<integer>45</integer>
	<key>StandardErrorPath</key>
	` + agentWord(filepath.Join(m.Home, "Library", "Logs", "authferry-serve.log")) + `
</dict>
</plist>
`)
	return []byte(b.String())
}

// agentWord writes a word into a property list. encoding/xml escapes the same characters,
// but would be initialised for every token.
func agentWord(w string) string { return "<string>" + html.EscapeString(w) + "</string>" }

// taskWord writes a command as the one argument that schtasks takes it in.
func taskWord(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; strings.ContainsAny(w, " \t") {
			quoted[i] = `\"` + w + `\"`
		}
	}
	return `"` + strings.Join(quoted, " ") + `"`
}
