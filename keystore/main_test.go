package keystore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

const clientEnv = "KEYSTORE_TEST_CLIENT"

// TestMain lets the test binary be another program as well: one that uses a
// store as its standard input says. The keychain library connects once per
// process, so each keychain needs a process of its own.
func TestMain(m *testing.M) {
	if where := os.Getenv(clientEnv); where != "" {
		if err := serve(where); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(inside) != "" { // whose environment is the keyring's
		os.Exit(m.Run())
	}
	os.Exit(testenv.Alone(m).Run())
}

// inside is set where the tests run once more, on a keyring of theirs.
const inside = "KEYSTORE_TEST_CONFORMANCE"

// request is one line to a client.
type request struct {
	Op, Name, Value string
	Timeout         time.Duration
}

// answer is what the client says to it. Cause is the text of an Err… value, Err
// all of the error.
type answer struct {
	Value, Cause, Err string
}

func serve(where string) error {
	store := keystore.OpenKeychain()
	if where != "keychain" {
		var at [2]string
		err := json.Unmarshal([]byte(where), &at)
		if err != nil {
			return err
		}
		if store, err = keystore.OpenFile(at[0], at[1]); err != nil {
			return err
		}
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var r request
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			return nil // the test is done with this client
		} else if err != nil {
			return err
		}
		if err := out.Encode(perform(store, r)); err != nil {
			return err
		}
	}
}

func perform(store keystore.Store, r request) (a answer) {
	ctx, cancel := context.WithTimeout(context.Background(), r.Timeout)
	defer cancel()
	var got keystore.Secret
	var err error
	switch r.Op {
	case "get":
		got, err = store.Get(ctx, r.Name)
	case "look for":
		got = keystore.NewSecret(fmt.Sprint(keystore.InKeychain(ctx, r.Name)))
	case "set":
		err = store.Set(ctx, r.Name, keystore.NewSecret(r.Value))
	case "delete":
		err = store.Delete(ctx, r.Name)
	}
	a.Value = got.Reveal()
	if err != nil {
		a.Err = err.Error()
		if e, ok := errors.AsType[*keystore.Error](err); ok {
			a.Cause = e.Cause.Error()
		}
	}
	return a
}

// client is a process that uses a store.
type client struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
}

// newClient starts a client of the keychain in env, or of the file store at
// where.
func newClient(t *testing.T, where string, env []string) *client {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), env...), clientEnv+"="+where)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	testenv.Must(t, err)
	out, err := cmd.StdoutPipe()
	testenv.Must(t, err)
	testenv.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &client{t: t, cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out)}
}

// patience is the deadline of a call that should be answered; shortly that of
// one that should not.
const (
	patience = time.Minute
	shortly  = 300 * time.Millisecond
)

func (c *client) send(r request) {
	c.t.Helper()
	if r.Timeout == 0 {
		r.Timeout = patience
	}
	testenv.Must(c.t, c.in.Encode(r))
}

func (c *client) do(r request) (a answer) {
	c.t.Helper()
	c.send(r)
	if err := c.out.Decode(&a); err != nil {
		c.t.Fatalf("%s %s: %v", r.Op, r.Name, err)
	}
	return a
}

func (c *client) set(name, value string) {
	c.t.Helper()
	c.wantCause(request{Op: "set", Name: name, Value: value}, nil)
}

func (c *client) want(name, value string) {
	c.t.Helper()
	if a := c.do(request{Op: "get", Name: name}); a.Err != "" || a.Value != value {
		c.t.Errorf("get %s = %.50q (%s), want %.50q", name, a.Value, a.Err, value)
	}
}

// wantCause is what a call should fail with, nil for success.
func (c *client) wantCause(r request, cause error) answer {
	c.t.Helper()
	a := c.do(r)
	if cause == nil && a.Err != "" || cause != nil && a.Cause != cause.Error() {
		c.t.Errorf("%s %s: error %q, want %v", r.Op, r.Name, a.Err, cause)
	}
	return a
}

// killWriters kills processes that write, each a little later, and looks at what
// they leave: a value that was written whole, or damage that the next write mends.
func killWriters(t *testing.T, where string, env []string) {
	t.Helper()
	reader := newClient(t, where, env)
	written := func(i int) string { return strings.Repeat(fmt.Sprintf("%d.", i), 1+1500*(i%3)) }
	reader.set(item, written(0))
	before := written(0)
	for i := 1; i <= 30; i += proofs.Size(4, 1) {
		writer := newClient(t, where, env)
		if a := writer.do(request{Op: "get", Name: item}); a.Err != "" {
			t.Fatal(a.Err)
		}
		writer.send(request{Op: "set", Name: item, Value: written(i)})
		time.Sleep(time.Duration(i) * time.Millisecond)
		testenv.Must(t, writer.cmd.Process.Kill())
		_ = writer.cmd.Wait()
		a := reader.do(request{Op: "get", Name: item})
		if a.Cause != "" && a.Cause != keystore.ErrDamaged.Error() {
			t.Errorf("writer %d: %s", i, a.Err)
		}
		if a.Cause == "" && a.Value != written(i) && a.Value != before {
			t.Errorf("writer %d: neither the old nor the new value: %.50q", i, a.Value)
		}
		reader.set(item, written(i))
		reader.want(item, written(i))
		before = written(i)
	}
}
