package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/docs/schema"
	"github.com/authferry/authferry/proofs"
)

// TestMain makes this test binary the authferry command, under all its names, for
// the scripts and for the rotators that they cause.
func TestMain(m *testing.M) {
	commands := map[string]func(){"authferry": documented, "printenv-and-exit": printenvAndExit, "person": person, "careless": careless, "ask-proxy": askProxy, "mcp-client": mcpClient, "mcp-bridged": mcpBridged}
	for name := range links {
		commands[name] = main
	}
	if _, is := commands[strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")]; is {
		testscript.Main(m, commands)
	}
	testscript.Main(authferrytest.Alone(m), commands)
}

// documented is main, which holds each JSON document that it prints, and each report
// that it takes, to its schema.
func documented() {
	args := habits(os.Args[1:])
	if !schema.Asked(args) {
		main()
	}
	var in io.Reader = os.Stdin
	var reported strings.Builder
	if slices.Contains(args, "report") && !isTerminal(os.Stdin) {
		in = io.TeeReader(os.Stdin, &reported)
	}
	out := recorder{Writer: os.Stdout}
	code := start(in, &out)
	err := schema.Check(args, out.written.String())
	if code == exitOK && reported.Len() > 0 {
		err = errors.Join(err, schema.CheckReport(reported.String()))
	}
	if err != nil && !out.failed {
		_, _ = fmt.Fprintln(os.Stderr, err)
		code = undocumented
	}
	os.Exit(code)
}

// undocumented is the exit code of no command.
const undocumented = 99

// recorder keeps what was written, unless some of it could not be.
type recorder struct {
	io.Writer
	written strings.Builder
	failed  bool
}

func (r *recorder) Write(p []byte) (int, error) {
	r.written.Write(p)
	n, err := r.Writer.Write(p)
	r.failed = r.failed || err != nil
	return n, err
}

// TestScripts runs every command, and every exit code that it can have, as a
// user would. Each script opens with the behaviour that it guards.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:       "testdata",
		Setup:     setUp,
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"configure": configure, "exits": exits, "fails": fails, "field": field, "lastfield": lastField, "members": members, "remember": remember,
			"grant": grantFile, "server": server, "noleak": noleak, "replace": replace, "cptree": cptree, "hold": hold,
			"answered": answered, "issue": issue, "nowhere": nowhere,
		},
	})
}

// condition knows [proofs], and [mounts] and [userns]: this process may make mount
// namespaces, and those of a user, who is root there.
func condition(name string) (bool, error) {
	switch name {
	case "mounts":
	case "proofs":
		return proofs.On(), nil
	case "userns":
		return exec.Command("unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", "ip link set lo up && mount -t tmpfs none /run && unshare --user --map-user=1000 --map-group=1000 true").Run() == nil, nil
	default:
		return false, fmt.Errorf("unknown condition %q", name)
	}
	return exec.Command("unshare", "--mount", "mount", "-t", "tmpfs", "none", os.TempDir()).Run() == nil, nil
}

type serverKey struct{}

// setUp gives each script its own HOME, folder, sealed-file keystore and server.
func setUp(env *testscript.Env) error {
	s, err := brokertest.Start(brokertest.Config{Rotation: brokertest.Strict})
	if err != nil {
		return err
	}
	env.Defer(s.Close)
	env.Values[serverKey{}] = s
	env.Values[heldKey{}] = map[string]func(){}
	home := filepath.Join(env.WorkDir, "home")
	for _, dir := range []string{home, filepath.Join(env.WorkDir, "tmp")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	env.Setenv("HOME", home)
	env.Setenv("USERPROFILE", home)
	env.Setenv("SIM", s.URL)
	env.Setenv("SIM_HOST", strings.TrimPrefix(s.URL, "http://"))
	env.Setenv("OTHER", s.OtherURL())
	env.Setenv("SIM_LOCALHOST", strings.Replace(s.URL, "127.0.0.1", "localhost", 1))
	env.Setenv("AUTHFERRY_DIR", filepath.Join(env.WorkDir, "authferry"))
	env.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(env.WorkDir, "no-bus"))
	env.Setenv("NO_COLOR", "1")
	env.Setenv("BROWSER", "person")
	env.Setenv("NEWLINE", "one\ntwo")
	env.Setenv("RETURN", "one\rtwo")
	env.Setenv("INJECTED", "x: {token}\r\nhost: evil.example")
	return nil
}
