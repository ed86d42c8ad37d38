package keystoretest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
	"github.com/godbus/dbus/v5"
)

// privateBus is a message bus that starts no service by itself, so that nothing
// but what a test puts there answers.
type privateBus struct {
	address string
	daemon  *daemon
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_connections_per_user">100000</limit>
  <limit name="reply_timeout">600000</limit>
</busconfig>
`

func newBus(t testing.TB) *privateBus {
	t.Helper()
	needs(t, "dbus-daemon", "sh")
	dir := shortDir(t)
	socket, config := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	testenv.Must(t, os.WriteFile(config, fmt.Appendf(nil, busConfig, socket), 0o600))
	b := &privateBus{address: "unix:path=" + socket}
	b.daemon = startDaemon(t, nil, "", "dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", "--config-file="+config)
	eventually(t, "the message bus", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return b
}

func (b *privateBus) connect(t testing.TB) *dbus.Conn {
	t.Helper()
	conn, err := dbus.Connect(b.address)
	testenv.Must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// DeadBus returns the environment of a process whose message bus is gone.
func DeadBus(t testing.TB) (env []string) {
	return []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(shortDir(t), "gone")}
}

// MuteBus returns the environment of a process whose message bus takes
// connections and never says a word.
func MuteBus(t testing.TB) (env []string) {
	socket := filepath.Join(shortDir(t), "mute")
	l, err := net.Listen("unix", socket)
	testenv.Must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + socket}
}

// daemon is a program that ends with its test. A shell watches over it, which
// ends it as well when the test binary itself is killed and no cleanup runs.
type daemon struct {
	process *os.Process
	name    string
}

const watch = `input=$1; shift
printf %s "$input" | { exec "$@" >/dev/null 2>&1; } &
echo $!
read end
kill -9 $!
wait
`

func startDaemon(t testing.TB, env []string, input string, argv ...string) *daemon {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", watch, "sh", input}, argv...)...)
	cmd.Env = append(os.Environ(), env...)
	leash, err := cmd.StdinPipe()
	testenv.Must(t, err)
	out, err := cmd.StdoutPipe()
	testenv.Must(t, err)
	testenv.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = leash.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	testenv.Must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	testenv.Must(t, err)
	d := &daemon{name: argv[0]}
	if d.process, err = os.FindProcess(pid); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *daemon) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := d.process.Signal(s); err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
}

func needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: %v", p, err)
		}
	}
}

// shortDir is a folder whose sockets stay under the 108 bytes that a path of a
// socket may have; t.TempDir does not.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "af")
	testenv.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// eventually waits for what another process does; the limit is there for a test
// that would never end.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for range 3000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}
