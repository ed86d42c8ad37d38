package pipe

import (
	"bytes"
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

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/testenv"
	"github.com/authferry/authferry/version"
)

// TestMain makes this test binary authferry-share, as the variable says.
func TestMain(m *testing.M) {
	switch os.Getenv("PIPE_TEST") {
	case "":
		os.Exit(testenv.Alone(m).Run())
	case "other":
		fmt.Println(`{"version":"0.0.1"}`)
		_, _ = io.Copy(os.Stdout, os.Stdin) // what it is asked would be seen
	case "silent":
	case "dies":
		fmt.Printf(`{"version":%q}`+"\n", version.String())
		os.Exit(3)
	default:
		_ = Answer(context.Background(), os.Stdin, os.Stdout, answers)
	}
}

// answers is a program of a few commands.
func answers(ctx context.Context, r Request, c *Caller) (any, error) {
	switch r.Command {
	case Status:
		args, err := Decode[PoolRequest](r)
		if err != nil {
			return nil, err
		}
		over := c.Doing("asking the engine", time.Time{})
		c.Warn("the engine is slow", fault.Remedy{Do: fault.ShareDoctor, Pool: args.Pool})
		over()
		return StatusResult{[]Pool{{Pool: args.Pool}}}, c.Event(ServeEvent{Event: "watching"})
	case Serve:
		if err := c.Event(ServeEvent{Event: "watching"}); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, fault.Errorf(fault.Cancelled, "stopped")
	}
	return nil, fault.Errorf(fault.WaitingForMachine, "laptop has it").Try(fault.Remedy{Do: fault.ShareRecover, Account: "a"})
}

func call(ctx context.Context, mode, command string, args any, l Listener) (json.RawMessage, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PIPE_TEST="+mode)
	return Call(ctx, cmd, command, false, args, l)
}

func TestCall(t *testing.T) {
	var heard []string
	l := Listener{
		Doing: func(text string, _ time.Time) func() {
			heard = append(heard, text)
			return func() { heard = append(heard, "done") }
		},
		Warn: func(message string, next ...fault.Remedy) { heard = append(heard, message+" "+next[0].Pool) },
		Event: func(e json.RawMessage) error {
			heard = append(heard, string(e))
			return nil
		},
	}
	result, err := call(t.Context(), "answers", Status, PoolRequest{"team"}, l)
	testenv.Must(t, err)
	var got StatusResult
	testenv.Must(t, json.Unmarshal(result, &got))
	if len(got.Pools) != 1 || got.Pools[0].Pool != "team" {
		t.Errorf("the result is %s", result)
	}
	if want := `asking the engine, the engine is slow team, done, {"event":"watching","pool":""}`; strings.Join(heard, ", ") != want {
		t.Errorf("heard %q, want %s", heard, want)
	}

	_, err = call(t.Context(), "answers", Recover, nil, l)
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.WaitingForMachine || len(e.Next) != 1 || e.Next[0].Account != "a" {
		t.Errorf("the error is %#v", err)
	}
	if _, err := call(t.Context(), "answers", Status, "no object", l); fault.CodeOf(err) != fault.Internal {
		t.Errorf("malformed arguments: %v", err)
	}
}

func TestProbe(t *testing.T) {
	for mode, want := range map[string]fault.Code{"answers": "", "dies": "", "other": fault.EngineUnreachable} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PIPE_TEST="+mode)
		if err := Probe(cmd); (err != nil || want != "") && fault.CodeOf(err) != want {
			t.Errorf("%s: %v", mode, err)
		}
	}
	silent := exec.Command(os.Args[0])
	silent.Env = append(os.Environ(), "PIPE_TEST=silent")
	if err := Probe(silent); fault.CodeOf(err) != fault.Internal {
		t.Errorf("a program that says nothing: %v", err)
	}
}

// Each of the two refuses another version of the other, before anything is done.
func TestAnotherVersionIsRefused(t *testing.T) {
	if _, err := call(t.Context(), "other", Status, PoolRequest{"canary"}, Listener{}); fault.CodeOf(err) != fault.EngineUnreachable || !strings.Contains(err.Error(), "0.0.1") {
		t.Errorf("authferry takes another authferry-share: %v", err)
	}
	var out bytes.Buffer
	err := Answer(t.Context(), strings.NewReader(`{"version":"0.0.1","command":"status","args":{}}`+"\n"), &out, func(context.Context, Request, *Caller) (any, error) {
		t.Error("authferry-share obeys another authferry")
		return nil, nil
	})
	if fault.CodeOf(err) != fault.EngineUnreachable || !strings.Contains(out.String(), `"code":"engine_unreachable"`) {
		t.Errorf("authferry-share says %v, %s", err, &out)
	}
}

func TestDeathIsNoAnswer(t *testing.T) {
	if _, err := call(t.Context(), "dies", Status, nil, Listener{}); fault.CodeOf(err) != fault.Internal || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a program that died: %v", err)
	}
}

// The end of authferry's context stops authferry-share, which has the last word.
func TestStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	_, err := call(ctx, "answers", Serve, PoolRequest{}, Listener{Event: func(json.RawMessage) error { stop(); return nil }})
	if fault.CodeOf(err) != fault.Cancelled || err.Error() != "stopped" {
		t.Errorf("it was stopped: %v", err)
	}
}

// Whatever comes, each side ends, authferry with a result or an error.
func FuzzConversation(f *testing.F) {
	good := fmt.Sprintf(`{"version":%q}`+"\n", version.String())
	for _, s := range []string{good + `{"result":{}}`, good + `{"error":{"code":"x"}}`, good + `{"progress":{}}{"progress":{"text":"a"}}{"result":null}`, good + `{"warning":{}}`, `{`, `{"version":"1"}`, "", "null"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := Listener{Doing: func(string, time.Time) func() { return func() {} }, Warn: func(string, ...fault.Remedy) {}}
		result, err := converse(io.Discard, bytes.NewReader(data), Request{Version: version.String()}, l)
		if (result == nil) == (err == nil) {
			t.Fatalf("%s, %v", result, err)
		}
		_ = Answer(t.Context(), bytes.NewReader(data), io.Discard, func(_ context.Context, r Request, _ *Caller) (any, error) {
			_, err := Decode[InviteRequest](r)
			return nil, err
		})
	})
}
