package main

import (
	"fmt"

	"github.com/authferry/authferry/keystore"
)

type keystoreCmd struct {
	Status  keystoreStatusCmd  `cmd:"" help:"Say which keystore is in use and whether it works."`
	Init    keystoreInitCmd    `cmd:"" help:"Use the sealed file keystore, for machines without a keychain."`
	Migrate keystoreMigrateCmd `cmd:"" help:"Move all secrets to the other keystore."`
}

type keystoreStatusCmd struct{ jsonFlag }

func (c *keystoreStatusCmd) Run(a *app) error {
	s, err := a.broker.KeystoreStatus(a.ctx)
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		if err := a.printJSON(s); err != nil {
			return err
		}
		if s.Err != nil {
			return reported{s.Err}
		}
		return nil
	case s.Err != nil:
		_, _ = fmt.Fprintf(a.out, "%s: %s: not usable\n", s.Kind, printable(s.Backend))
		return s.Err
	}
	_, err = fmt.Fprintf(a.out, "%s: %s: usable\n", s.Kind, printable(s.Backend))
	return err
}

type keystoreInitCmd struct {
	jsonFlag
	KeyFile string `required:"" placeholder:"PATH" help:"The key file; made where there is none."`
}

func (c *keystoreInitCmd) Run(a *app) error {
	warning, err := a.broker.InitFileKeystore(a.ctx, c.KeyFile)
	if err != nil {
		return err
	}
	if warning != "" {
		a.term.warn(warning)
	}
	if !c.JSON {
		a.term.note("secrets are kept in sealed files, opened by %s; whoever loses that file loses the logins", c.KeyFile)
	}
	return (&keystoreStatusCmd{c.jsonFlag}).Run(a)
}

type keystoreMigrateCmd struct {
	jsonFlag
	To string `arg:"" enum:"keychain,file" help:"keychain or file."`
}

func (c *keystoreMigrateCmd) Run(a *app) error {
	moved, err := a.broker.MigrateKeystore(a.ctx, keystore.Kind(c.To))
	if err != nil {
		return err
	}
	if !c.JSON {
		a.term.note("%d items moved to the %s keystore", moved, c.To)
	}
	return (&keystoreStatusCmd{c.jsonFlag}).Run(a)
}
