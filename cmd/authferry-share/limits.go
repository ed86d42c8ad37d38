package main

import (
	"context"
	"errors"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/version"
)

// ofVersion is which authferry has started this program.
type ofVersion struct {
	Of string `required:"" placeholder:"VERSION" help:"The version of authferry."`
}

func (v ofVersion) folder() (*folder.Folder, error) {
	if err := pipe.Same("authferry-share", version.String(), "authferry", v.Of); err != nil {
		return nil, err
	}
	opt, err := folder.FromEnvironment(false) // authferry says how long it would wait
	if err != nil {
		return nil, err
	}
	return folder.New(opt), nil
}

type limitsCmd struct {
	ofVersion
	Pool string `arg:""`
}

func (c *limitsCmd) Run(ctx context.Context) error {
	f, err := c.folder()
	if err != nil {
		return err
	}
	return share.Exchange(ctx, f, dial, c.Pool)
}

type probeCmd struct {
	ofVersion
	Account string `arg:""`
}

func (c *probeCmd) Run(ctx context.Context) error {
	f, err := c.folder()
	if err != nil {
		return err
	}
	if mine, err := share.Probe(ctx, f, dial, c.Account); err != nil || mine {
		return err
	}
	return errors.New("another machine's caller was let through")
}
