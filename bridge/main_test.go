package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/testenv"
)

// TestMain makes the test binary the rotator when it is started as one, and looks
// whether anything is left running.
func TestMain(m *testing.M) {
	if args := os.Args[1:]; strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "authferry" && args[0] == rotation.Command {
		beyond, _ := strconv.Atoi(args[2])
		b := broker.New(broker.Options{Dir: os.Getenv("AUTHFERRY_DIR")})
		if rotation.Main(context.Background(), b.Folder, args[1], rotation.Wish{Beyond: beyond, Rejected: slices.Contains(args, "--rejected"), Background: slices.Contains(args, "--background")}, os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(testenv.LeavingNothing(m, "authferry/bridge"))
}

// world is a folder with logins at one remote MCP server.
type world struct {
	t      testing.TB
	server *brokertest.Server
	b      *broker.Broker
	opt    Options
}

// newWorld logs in at a server that answers as handler does, as each of the users.
func newWorld(t testing.TB, handler func(user string) http.Handler, users ...string) *world {
	t.Helper()
	w := &world{t: t, server: brokertest.New(t, brokertest.Config{MCP: &brokertest.MCP{Handler: handler}})}
	dir := filepath.Join(t.TempDir(), "authferry")
	w.b = broker.New(broker.Options{Dir: dir})
	testenv.Must(t, testenv.Err(folder.InitFileKeystore(t.Context(), w.b.Folder, filepath.Join(t.TempDir(), "key.txt"))))
	w.opt = Options{
		Broker: broker.NewKeeper(broker.Options{Dir: dir}), Server: w.server.URL + "/mcp", UserAgent: "authferry/test",
		Selection: pool.Selection{Provider: "sim"},
		Say:       func(e *fault.Error) (string, string) { return "said: " + e.Error(), fmt.Sprint(e.Next) },
	}
	for _, user := range users {
		w.login(user, user, "")
	}
	return w
}

// login logs in as user: with a label, or in the place of an account.
func (w *world) login(user, label, renew string) {
	w.t.Helper()
	testenv.Must(w.t, w.server.Configure(func(c *brokertest.Config) { c.SignedIn = user }))
	if renew != "" {
		label = ""
	}
	r, err := account.FindRemote(w.t.Context(), w.b.Folder, account.RemoteRequest{Address: w.opt.Server, Provider: "sim", Label: label, Renew: renew})
	testenv.Must(w.t, err)
	_, err = account.Login(w.t.Context(), w.b.Folder, account.LoginRequest{Provider: "sim", Label: label, Renew: renew, Remote: r}, account.Person{Open: visit(w.t)})
	testenv.Must(w.t, err)
}

// visit is a person who logs in.
func visit(t testing.TB) func(string) {
	return func(address string) {
		go func() {
			res, err := http.Get(address)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}()
	}
}

// client is one on stdio of a bridge that runs.
type client struct {
	t     testing.TB
	in    *io.PipeWriter
	lines chan string // of out; closed at its end
	done  chan error
	end   context.CancelFunc
}

// open starts a bridge, which ends with the test.
func (w *world) open() *client {
	w.t.Helper()
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	c := &client{t: w.t, in: inWrite, lines: make(chan string, 64), done: make(chan error, 1)}
	var ctx context.Context
	ctx, c.end = context.WithCancel(context.Background())
	go func() {
		err := New(w.opt).Run(ctx, inRead, outWrite)
		_ = outWrite.Close()
		c.done <- err
	}()
	go func() {
		defer close(c.lines)
		r := bufio.NewReaderSize(outRead, 1<<20)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			c.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	w.t.Cleanup(func() {
		c.end()
		_ = inWrite.Close()
		_ = outRead.Close()
		for range c.lines {
		}
	})
	return c
}

// say sends messages.
func (c *client) say(messages ...string) {
	c.t.Helper()
	for _, m := range messages {
		testenv.Must(c.t, testenv.Err(io.WriteString(c.in, m+"\n")))
	}
}

const patience = time.Minute

// hear returns the next message.
func (c *client) hear() string {
	c.t.Helper()
	select {
	case line, ok := <-c.lines:
		if !ok {
			c.t.Fatal("the bridge has ended")
		}
		return line
	case <-time.After(patience):
		c.t.Fatal("nothing comes")
	}
	return ""
}

// hears expects messages, in any order.
func (c *client) hears(want ...string) {
	c.t.Helper()
	var got []string
	for range want {
		got = append(got, c.hear())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// finish ends what the client says and returns what else came, and the bridge's error.
func (c *client) finish() (rest []string, err error) {
	c.t.Helper()
	_ = c.in.Close()
	for line := range c.lines {
		rest = append(rest, line)
	}
	return rest, <-c.done
}

// ends expects nothing more.
func (c *client) ends() {
	c.t.Helper()
	if rest, err := c.finish(); len(rest) > 0 || err != nil {
		c.t.Fatalf("%v, and still came %q", err, rest)
	}
}

// seen is one request as the server got it.
type seen struct {
	user   string
	method string // HTTP's
	header http.Header
	body   string
	rpc    struct {
		ID     json.RawMessage
		Method string
		Params json.RawMessage
		Result json.RawMessage
	}
}

// remote is a server whose answers the test makes.
type remote struct {
	mu     sync.Mutex
	all    []seen
	answer func(w http.ResponseWriter, s seen, r *http.Request)
}

func (m *remote) handler(user string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		s := seen{user: user, method: r.Method, header: r.Header.Clone(), body: string(body)}
		_ = json.Unmarshal(body, &s.rpc)
		m.mu.Lock()
		m.all = append(m.all, s)
		m.mu.Unlock()
		m.answer(w, s, r)
	})
}

func (m *remote) requests() []seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.all)
}

// await waits until the server has seen what fits.
func (m *remote) await(t testing.TB, fits func(seen) bool) seen {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if all := m.requests(); slices.ContainsFunc(all, fits) {
			return all[slices.IndexFunc(all, fits)]
		}
	}
	t.Fatal("the server has not seen it")
	return seen{}
}

// rpcError is an error as a client reads it.
type heardError struct {
	ID    json.RawMessage
	Error *struct {
		Code    int
		Message string
		Data    struct{ Authferry struct{ Code, Hint string } }
	}
}

func (c *client) refused() heardError {
	c.t.Helper()
	var e heardError
	line := c.hear()
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Error == nil {
		c.t.Fatalf("%v: %s is no error", err, line)
	}
	return e
}
