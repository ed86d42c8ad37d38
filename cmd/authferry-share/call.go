package main

import (
	"context"
	"os"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/pipe"
)

// command does one that authferry asks for.
type command func(context.Context, *folder.Folder, pipe.Request) (any, error)

// commands are those of package pipe but Serve.
var commands = map[string]command{
	pipe.Start:   asked(share.Start),
	pipe.Invite:  asked(share.Invite),
	pipe.Join:    asked(share.Join),
	pipe.Leave:   asked(share.Leave),
	pipe.Members: asked(share.Members),
	pipe.Enter:   asked(share.Enter),
	pipe.TakeOut: asked(share.TakeOut),
	pipe.Remove:  asked(share.Remove),
	pipe.Recover: asked(share.Recover),
	pipe.Status:  asked(share.Status),
	pipe.Doctor:  asked(share.Doctor),
	pipe.Limits:  asked(share.Limits),
	pipe.Clear:   asked(share.ClearHolds),
	pipe.Set:     asked(share.Set),
}

// asked makes a command of a function of package share.
func asked[Args, Result any](do func(context.Context, *folder.Folder, share.Dialer, Args) (*Result, error)) command {
	return func(ctx context.Context, f *folder.Folder, r pipe.Request) (any, error) {
		args, err := pipe.Decode[Args](r)
		if err != nil {
			return nil, err
		}
		return do(ctx, f, dial, args)
	}
}

// do does what a request asks for.
func do(ctx context.Context, r pipe.Request, caller *pipe.Caller) (any, error) {
	opt, err := folder.FromEnvironment(false) // authferry says how long it would wait
	if err != nil {
		return nil, err
	}
	opt.Warn = caller.Warn
	opt.Progress = func(s folder.Step) func() { return caller.Doing(s.Doing(), s.Until) }
	if r.Verbose {
		opt.LogTo(os.Stderr)
	}
	f := folder.New(opt)
	run, known := commands[r.Command]
	switch {
	case known:
		return run(ctx, f, r)
	case r.Command == pipe.Serve:
		args, err := pipe.Decode[pipe.PoolRequest](r)
		if err != nil {
			return nil, err
		}
		return nil, share.Serve(ctx, f, dial, args, func(e pipe.ServeEvent) error { return caller.Event(e) })
	}
	return nil, fault.Errorf(fault.Internal, "authferry-share has no command %q", r.Command)
}
