// Package pipe is how authferry has authferry-share do something: lines of JSON over its
// stdin and stdout.
//
// authferry-share first says which version it is. Then authferry writes one Request, and
// authferry-share answers with any number of lines, the last of which has a result or an
// error. Each of them refuses another version of the other. Closing stdin, or the death of
// authferry, tells authferry-share to stop.
//
// Args and results hold secrets only where a person asked for one (a ticket) or brought one
// (a ticket, a certificate's key), which is why they go through a pipe.
package pipe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/version"
)

// Command is the word that has authferry-share read a Request.
const Command = "call"

// Request is one command.
type Request struct {
	Version string          `json:"version"` // of authferry
	Command string          `json:"command"`
	Verbose bool            `json:"verbose,omitempty"` // log to stderr
	Args    json.RawMessage `json:"args"`
}

// line is one from authferry-share. One of its fields is set.
type line struct {
	Version string          `json:"version,omitempty"`
	Doing   *doing          `json:"progress,omitempty"`
	Warning *warning        `json:"warning,omitempty"`
	Event   json.RawMessage `json:"event,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *fault.Carried  `json:"error,omitempty"`
}

// doing is the step that has begun; the zero value: it is over.
type doing struct {
	Text  string    `json:"text,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

type warning struct {
	Message string         `json:"message"`
	Next    []fault.Remedy `json:"next,omitempty"`
}

// Listener hears of what happens before there is a result.
type Listener struct {
	Doing func(text string, until time.Time) (over func()) // a step that may take long
	Warn  func(message string, next ...fault.Remedy)
	Event func(json.RawMessage) error // nil: there are none
}

// patience is how long authferry-share has to stop once it is told to.
const patience = 10 * time.Second

// Call runs cmd, which is authferry-share with Command, and returns its result. When ctx
// ends, authferry-share is told to stop; what it answers then still counts. Errors are
// *fault.Error: those of the command; EngineUnreachable if it is another version.
func Call(ctx context.Context, cmd *exec.Cmd, command string, verbose bool, args any, l Listener) (json.RawMessage, error) {
	request := Request{Version: version.String(), Command: command, Verbose: verbose}
	var err error
	if request.Args, err = json.Marshal(args); err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fault.Errorf(fault.Internal, "%s can't be started", cmd.Path).Because(err)
	}
	stopped := context.AfterFunc(ctx, func() {
		_ = in.Close()
		time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	})
	result, err := converse(in, out, request, l)
	stopped()
	_ = in.Close()
	_, _ = io.Copy(io.Discard, out)
	ended := cmd.Wait()
	if !errors.Is(err, errNoAnswer) {
		return result, err
	}
	if ctx.Err() != nil {
		return nil, fault.Errorf(fault.Cancelled, "interrupted").Because(ctx.Err())
	}
	return nil, fault.Errorf(fault.Internal, "authferry-share ended without an answer").Because(ended)
}

// Probe checks that cmd, as for Call, can be started and is of this version. It does
// nothing.
func Probe(cmd *exec.Cmd) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fault.Errorf(fault.Internal, "%s can't be started", cmd.Path).Because(err)
	}
	var first line
	decodeErr := json.NewDecoder(out).Decode(&first)
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // without a request it fails
	if decodeErr != nil || first.Version == "" {
		return fault.Errorf(fault.Internal, "%s doesn't say which version it is", cmd.Path)
	}
	return Same("authferry-share", first.Version, "authferry", version.String())
}

var errNoAnswer = errors.New("no answer")

func converse(in io.Writer, out io.Reader, request Request, l Listener) (json.RawMessage, error) {
	lines := json.NewDecoder(out)
	var first line
	if err := lines.Decode(&first); err != nil || first.Version == "" {
		return nil, errNoAnswer
	}
	if err := Same("authferry-share", first.Version, "authferry", request.Version); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(in).Encode(request); err != nil {
		return nil, errNoAnswer
	}
	var over []func()
	defer func() {
		for _, end := range over {
			end()
		}
	}()
	for {
		var next line
		if err := lines.Decode(&next); err != nil {
			return nil, errNoAnswer
		}
		switch {
		case next.Error != nil:
			return nil, next.Error.Err()
		case next.Result != nil:
			return next.Result, nil
		case next.Warning != nil:
			l.Warn(next.Warning.Message, next.Warning.Next...)
		case next.Event != nil && l.Event != nil:
			if err := l.Event(next.Event); err != nil {
				return nil, err
			}
		case next.Doing != nil && next.Doing.Text != "":
			over = append(over, l.Doing(next.Doing.Text, next.Doing.Until))
		case next.Doing != nil && len(over) > 0:
			over[len(over)-1]()
			over = over[:len(over)-1]
		}
	}
}

// Same returns an error unless the two programs are of one version.
func Same(name, its, other, others string) error {
	if its == others {
		return nil
	}
	return fault.Errorf(fault.EngineUnreachable, "%s is version %q, and %s is version %q; they have to be the same", name, its, other, others).
		Try(fault.Remedy{Do: fault.InstallShare, Value: version.String()})
}

// Caller is the authferry at the other end.
type Caller struct {
	mu  sync.Mutex
	out *json.Encoder
}

func (c *Caller) say(l line) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Encode(l)
}

// Doing reports a step, until over is called.
func (c *Caller) Doing(text string, until time.Time) (over func()) {
	_ = c.say(line{Doing: &doing{text, until}})
	return sync.OnceFunc(func() { _ = c.say(line{Doing: &doing{}}) })
}

// Warn reports what a person should know although the command succeeds.
func (c *Caller) Warn(message string, next ...fault.Remedy) {
	_ = c.say(line{Warning: &warning{message, next}})
}

// Event reports something else.
func (c *Caller) Event(document any) error {
	data, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return c.say(line{Event: data})
}

// Answer reads one Request from in, has do do it, and writes the result to out. The context
// of do ends with ctx, and when in does. It returns the error of do, which was reported.
func Answer(ctx context.Context, in io.Reader, out io.Writer, do func(context.Context, Request, *Caller) (any, error)) error {
	c := &Caller{out: json.NewEncoder(out)}
	if err := c.say(line{Version: version.String()}); err != nil {
		return err
	}
	reader := bufio.NewReader(in)
	result, err := func() (any, error) {
		var r Request
		text, err := reader.ReadBytes('\n')
		if err != nil || json.Unmarshal(text, &r) != nil {
			return nil, fault.Errorf(fault.Usage, "expected a request on stdin; authferry runs this itself")
		}
		if err := Same("authferry", r.Version, "authferry-share", version.String()); err != nil {
			return nil, err
		}
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		go func() {
			_, _ = io.Copy(io.Discard, reader)
			stop()
		}()
		return do(ctx, r, c)
	}()
	last := line{Error: fault.Carry(err)}
	if err == nil {
		if last.Result, err = json.Marshal(result); err != nil {
			last.Error = fault.Carry(err)
		}
	}
	return errors.Join(err, c.say(last))
}

// Decode reads the arguments of a request. Error: Internal if they aren't those of its
// command.
func Decode[T any](r Request) (args T, err error) {
	if err := json.Unmarshal(r.Args, &args); err != nil {
		return args, fault.Errorf(fault.Internal, "the arguments of %q are malformed", r.Command).Because(fmt.Errorf("%T", err))
	}
	return args, nil
}
