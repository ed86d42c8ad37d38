package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// TestMain makes this test binary the programs that the scripts run beside authferry. Where
// there is no go, as under Wine, it is authferry too, under all its names.
func TestMain(m *testing.M) {
	commands := map[string]func(){"printenv-and-exit": printenvAndExit, "person": person, "careless": careless, "ask-proxy": askProxy, "mcp-client": mcpClient, "mcp-bridged": mcpBridged}
	if _, err := exec.LookPath("go"); err != nil {
		commands["authferry"] = main
		for name := range links {
			commands[name] = main
		}
	}
	if _, is := commands[strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")]; is {
		testscript.Main(m, commands)
	}
	runtime.SetDefaultGOMAXPROCS() // one processor is for a command; how many tests run at once depends on this
	testscript.Main(sharetest.Ending(authferrytest.Alone(m)), commands)
}

// program is authferry as it is installed, or what plays its part.
func program(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err == nil {
		return authferrytest.Built(t)
	}
	self, err := os.Executable()
	testenv.Must(t, err)
	return self
}

// TestScripts runs every command, and every exit code that it can have, as a
// user would. Each script opens with the behaviour that it guards.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: onPath(program(t)), Condition: condition, Cmds: commandsOfScripts(nil)})
}

// onPath is setUp with the program on the PATH.
func onPath(program string) func(*testscript.Env) error {
	return func(env *testscript.Env) error {
		env.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+env.Getenv("PATH"))
		return setUp(env)
	}
}

// commandsOfScripts are those that all scripts have, and more.
func commandsOfScripts(more map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]func(*testscript.TestScript, bool, []string){
		"configure": configure, "exits": exits, "fails": fails, "field": field, "lastfield": lastField, "members": members, "remember": remember,
		"grant": grantFile, "server": server, "noleak": noleak, "replace": replace, "cptree": cptree, "hold": hold,
		"answered": answered, "issue": issue, "nowhere": nowhere,
	}
	for _, name := range []string{"authferry", "docker-credential-authferry", "git-credential-authferry", "terraform-credentials-authferry"} {
		all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if err := runs(ts, name, args); neg == (err == nil) {
				ts.Fatalf("%s: %v", name, err)
			}
		}
	}
	maps.Copy(all, more)
	return all
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
