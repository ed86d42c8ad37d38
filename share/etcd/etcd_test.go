package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/etcd"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// An answer that is lost, or breaks the connection, leaves an unknown outcome: the swap was
// sent to one endpoint, once.
func TestSwapIsSentOnce(t *testing.T) {
	t.Parallel()
	c := sharetest.New(t, sharetest.Options{})
	laptop := c.Holder(t, "laptop")
	direct := open(t, c.Endpoints(), laptop)
	for name, answers := range map[string]sharetest.Answers{"vanish": sharetest.Vanish, "break": sharetest.Break} {
		t.Run(name, func(t *testing.T) {
			var taps []*sharetest.Proxy
			var endpoints []string
			for range 3 {
				taps = append(taps, c.Tap(t, 0))
				endpoints = append(endpoints, taps[len(taps)-1].Endpoint())
			}
			e, key := open(t, endpoints, laptop), unique("authferry/once")
			first := swap(t, e, key, 0, "first")
			for range 20 { // over whichever connection
				_ = value(t, e, key)
			}
			before := c.Requests(t, "Txn")
			for _, tap := range taps {
				tap.Lose(answers)
			}
			ctx, cancel := context.WithCancel(testenv.Patience(t))
			defer cancel()
			var won bool
			var err error
			done := make(chan struct{})
			go func() {
				_, won, err = e.Swap(ctx, key, first.Version, []byte("second"))
				close(done)
			}()
			for answers == sharetest.Vanish && c.Requests(t, "Txn") == before {
				time.Sleep(10 * time.Millisecond)
			}
			if answers == sharetest.Vanish {
				cancel() // it has arrived
			}
			<-done
			wantKind(t, "Swap", err, engine.ErrUnknown)
			if won {
				t.Error("won")
			}
			if answers == sharetest.Vanish && !errors.Is(err, context.Canceled) {
				t.Errorf("Swap = %v, want the context's end too", err)
			}
			deadline := testenv.Patience(t)
			for answers == sharetest.Vanish && value(t, direct, key) != "second" && deadline.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			if sent := c.Requests(t, "Txn") - before; sent > 1 || answers == sharetest.Vanish && sent != 1 {
				t.Errorf("sent %d times", sent)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	c := sharetest.Shared(t)
	laptop := c.Holder(t, "laptop")
	tap := c.Tap(t, 0)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	testenv.Must(t, closed.Close())
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, never answers
	testenv.Must(t, err)
	t.Cleanup(func() { _ = silent.Close() })

	cut, key := open(t, []string{tap.Endpoint()}, laptop), unique("authferry/unreachable")
	swap(t, cut, key, 0, "x")
	tap.Cut(true)
	for name, e := range map[string]engine.Engine{
		"cut":    cut,
		"closed": open(t, []string{"https://" + closed.Addr().String()}, laptop),
		"silent": open(t, []string{"https://" + silent.Addr().String()}, laptop),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t, 300*time.Millisecond)
			_, _, err := e.Get(ctx, key)
			wantKind(t, "Get", err, engine.ErrUnreachable)
			_, _, err = e.List(ctx, key)
			wantKind(t, "List", err, engine.ErrUnreachable)
			_, _, err = e.Swap(ctx, key, 0, []byte("y"))
			wantKind(t, "Swap", err, engine.ErrUnreachable)
			wantKind(t, "Changed", e.Changed(ctx, key, 1<<40), engine.ErrUnreachable)
		})
	}
	tap.Cut(false)
	for patience := testenv.Patience(t); ; time.Sleep(20 * time.Millisecond) { // it tries again after a while
		got, _, err := cut.Get(patience, key)
		if err == nil && string(got.Value) == "x" {
			break
		}
		if patience.Err() != nil {
			t.Fatalf("reads %q, %v when the engine is back", got.Value, err)
		}
	}
}

// Of three endpoints one that answers is enough.
func TestOneEndpointIsEnough(t *testing.T) {
	t.Parallel()
	c := sharetest.Shared(t)
	laptop := c.Holder(t, "laptop")
	dead, alive := c.Tap(t, 0), c.Tap(t, 0)
	dead.Cut(true)
	e, key := open(t, []string{dead.Endpoint(), alive.Endpoint(), dead.Endpoint()}, laptop), unique("authferry/enough")
	swap(t, e, key, 0, "x")
	if got := value(t, e, key); got != "x" {
		t.Errorf("reads %q", got)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	c := sharetest.Shared(t)
	laptop := c.Holder(t, "laptop")
	name, ours := unique("gone"), unique("authferry/pool_ours")
	gone := c.Holder(t, name)
	c.Remove(t, name)
	stranger := foreign(t)
	theirs := open(t, c.Endpoints(), c.Holder(t, "theirs", "pool_theirs"))
	swap(t, theirs, unique("authferry/pool_theirs/acc/a"), 0, "x")
	swap(t, open(t, c.Endpoints(), laptop), ours+"/acc/a", 0, "x")
	for name, e := range map[string]engine.Engine{
		"another pool's":      theirs,
		"removed":             open(t, c.Endpoints(), gone),
		"another authority's": open(t, c.Endpoints(), sharetest.Credentials{CA: laptop.CA, Cert: stranger.Cert, Key: stranger.Key}),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := e.Get(testenv.Patience(t), ours+"/acc/a")
			wantKind(t, "Get", err, engine.ErrRefused)
			_, _, err = e.List(testenv.Patience(t), ours+"/")
			wantKind(t, "List", err, engine.ErrRefused)
			_, _, err = e.Swap(testenv.Patience(t), ours+"/acc/b", 0, []byte("y"))
			wantKind(t, "Swap", err, engine.ErrRefused)
		})
	}
	// What isn't the engine can't say that this machine is out of it.
	elsewhere := open(t, c.Endpoints(), sharetest.Credentials{CA: stranger.CA, Cert: laptop.Cert, Key: laptop.Key})
	_, _, err := elsewhere.Get(testenv.Patience(t), ours+"/acc/a")
	wantKind(t, "Get from a server of another authority", err, engine.ErrUnreachable)
	_, _, err = elsewhere.Swap(testenv.Patience(t), ours+"/acc/b", 0, []byte("y"))
	wantKind(t, "Swap at a server of another authority", err, engine.ErrUnreachable)
	wantKind(t, "Changed", theirs.Changed(testenv.Patience(t), ours+"/", 0), engine.ErrRefused)
	_, _, err = theirs.Swap(testenv.Patience(t), "pool_theirs/acc/big", 0, make([]byte, 2<<20))
	wantKind(t, "a value that is too big", err, engine.ErrRefused)
	if got, _, err := open(t, c.Endpoints(), laptop).Get(testenv.Patience(t), ours+"/acc/b"); err != nil || got.Version != 0 {
		t.Errorf("written after all: %+v, %v", got, err)
	}
}

// What a consumer's certificate is good for.
func TestConsumersRights(t *testing.T) {
	t.Parallel()
	c := sharetest.Shared(t)
	holder := open(t, c.Endpoints(), c.Holder(t, "laptop"))
	if old, _, err := holder.Get(testenv.Patience(t), "authferry/pool_c/meta"); err == nil && old.Version != 0 {
		_, _, err = holder.Swap(testenv.Patience(t), "authferry/pool_c/meta", old.Version, nil)
		testenv.Must(t, err)
	}
	consumer := open(t, c.Endpoints(), c.Consumer(t, "ci", "pool_c"))
	for folder, may := range map[string]struct{ read, write bool }{
		"meta": {true, false}, "acc/a": {true, false}, "member/a": {true, false},
		"hold/a": {true, true}, "want/a": {true, true}, "invite/a": {true, true}, "other/a": {false, false},
	} {
		t.Run(folder, func(t *testing.T) {
			key := "authferry/pool_c/" + folder
			if folder != "meta" {
				key = unique(key)
			}
			first := swap(t, holder, key, 0, "x")
			_, _, err := consumer.Get(testenv.Patience(t), key)
			if (err == nil) != may.read {
				t.Errorf("Get = %v", err)
			}
			_, won, err := consumer.Swap(testenv.Patience(t), key, first.Version, nil)
			if won != may.write || (err == nil) != may.write {
				t.Errorf("Swap = %v, %v", won, err)
			}
			if err != nil {
				wantKind(t, "Swap", err, engine.ErrRefused)
			}
		})
	}
}

// foreign are credentials of another authority, for a machine of the same name.
func foreign(t *testing.T) sharetest.Credentials {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{{"init"}, {"holder", "laptop"}} {
		out, err := exec.CommandContext(t.Context(), "sh", append([]string{"../../packaging/share-certs", "-d", dir}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		testenv.Must(t, err)
		return content
	}
	return sharetest.Credentials{CA: read("ca.crt"), Cert: read("laptop.crt"), Key: read("laptop.key")}
}

func TestOpenRefuses(t *testing.T) {
	sharetest.Need(t)
	good := foreign(t)
	for name, tt := range map[string]struct {
		endpoints string
		change    func(*etcd.Config)
		say       string
	}{
		"none":                {"", nil, "no endpoint"},
		"http elsewhere":      {"http://etcd.example:2379", nil, "http is for loopback alone"},
		"http to an address":  {"http://10.0.0.7:2379", nil, "http is for loopback alone"},
		"looks like loopback": {"http://127.0.0.1.example:2379", nil, "http is for loopback alone"},
		"both":                {"https://etcd.example:2379 http://localhost:2379", nil, "some endpoints are https and some http"},
		"no scheme":           {"etcd.example:2379", nil, "has the form"},
		"no port":             {"https://etcd.example", nil, "has the form"},
		"a password":          {"https://root:x@etcd.example:2379", nil, "has the form"},
		"a path":              {"https://etcd.example:2379/v3", nil, "has the form"},
		"a socket":            {"unix://etcd.sock:0", nil, "has the form"},
		"no authority":        {"https://etcd.example:2379", func(c *etcd.Config) { c.CA = []byte("x") }, "no certificate in PEM"},
		"no certificate":      {"https://etcd.example:2379", func(c *etcd.Config) { c.Cert = nil }, "the certificate of this machine"},
		"no key":              {"https://etcd.example:2379", func(c *etcd.Config) { c.Key = []byte("x") }, "the certificate of this machine"},
	} {
		t.Run(name, func(t *testing.T) {
			config := etcd.Config{Endpoints: strings.Fields(tt.endpoints), CA: good.CA, Cert: good.Cert, Key: good.Key}
			if tt.change != nil {
				tt.change(&config)
			}
			_, err := etcd.Open(config)
			if err == nil || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("%v, want %q", err, tt.say)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Error("shows the key")
			}
		})
	}
}

// The engine in clear on loopback carries what it is given, as it is.
func TestInClear(t *testing.T) {
	t.Parallel()
	c := sharetest.New(t, sharetest.Options{Plain: true})
	tap := c.Tap(t, 0)
	swap(t, open(t, []string{tap.Endpoint()}, sharetest.Credentials{}), "team/a", 0, "a value")
	if out := c.Etcdctl(t, "get", "team/a", "--print-value-only"); out != "a value\n" {
		t.Errorf("etcd has %q", out)
	}
	if !bytes.Contains(tap.Seen(), []byte("a value")) {
		t.Error("the tap didn't see it")
	}
}

// reads asks an endpoint that isn't there.
func reads(args []string) error {
	e, err := etcd.Open(etcd.Config{Endpoints: args})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _, err = e.Get(ctx, "a")
	fmt.Println(errors.Is(err, engine.ErrUnreachable))
	return e.Close()
}

// The client writes nothing by itself, whatever the environment says.
func TestQuiet(t *testing.T) {
	p := testenv.Command(t, "reads", "http://127.0.0.1:1")
	p.Env = append(p.Env, "ETCD_CLIENT_DEBUG=debug", "GRPC_GO_LOG_SEVERITY_LEVEL=info", "GRPC_GO_LOG_VERBOSITY_LEVEL=99")
	var stderr bytes.Buffer
	p.Stderr = &stderr
	testenv.Must(t, p.Start())
	if line := p.Line(t); line != "true" {
		t.Errorf("unreachable: %s", line)
	}
	p.Finish(t)
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", stderr.Bytes())
	}
}

// Others come and go while a machine works.
func TestWhileRightsChange(t *testing.T) {
	t.Parallel()
	c := sharetest.Shared(t)
	e, key := open(t, c.Endpoints(), c.Holder(t, "laptop")), unique("authferry/busy")
	now := swap(t, e, key, 0, "0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 8 {
			c.Etcdctl(t, "role", "grant-permission", "authferry-holder", "readwrite", fmt.Sprint("other", i))
		}
	}()
	for i := 0; ; i++ {
		now = swap(t, e, key, now.Version, strconv.Itoa(i))
		if got := value(t, e, key); got != strconv.Itoa(i) {
			t.Fatalf("reads %q", got)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// A full database takes no writes, from anybody: that is no refusal of this machine. What is
// there can still be read.
func TestFullDatabase(t *testing.T) {
	t.Parallel()
	c := sharetest.New(t, sharetest.Options{Plain: true, Quota: 2 << 20})
	e := open(t, c.Endpoints(), sharetest.Credentials{})
	big := bytes.Repeat([]byte("x"), 1<<20)
	var err error
	for i := 0; err == nil && i < 9; i++ {
		_, _, err = e.Swap(t.Context(), "authferry/"+strconv.Itoa(i), 0, big)
	}
	wantKind(t, "Swap", err, engine.ErrUnreachable)
	if err == nil || !strings.Contains(err.Error(), "space") {
		t.Errorf("%v", err)
	}
	if got, _, err := e.Get(t.Context(), "authferry/0"); err != nil || len(got.Value) != len(big) {
		t.Errorf("%d bytes, %v", len(got.Value), err)
	}
}
