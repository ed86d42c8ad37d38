package main

import (
	"fmt"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/keystore"
)

type keystoreCmd struct {
	Status  keystoreStatusCmd  `cmd:"" help:"Show which keystore is in use and whether it works."`
	Init    keystoreInitCmd    `cmd:"" help:"Use the sealed file keystore, for machines without a keychain."`
	Unlock  keystoreUnlockCmd  `cmd:"" help:"Open the key file that is sealed with a passphrase."`
	Lock    keystoreLockCmd    `cmd:"" help:"Forget what unlock opened."`
	Migrate keystoreMigrateCmd `cmd:"" help:"Move all secrets to the other keystore."`
}

type keystoreStatusCmd struct{ jsonFlag }

func (c *keystoreStatusCmd) Run(a *app) error {
	s, err := folder.TryKeystore(a.ctx, a.folder)
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
	usable := "usable"
	if !s.UnlockedUntil.IsZero() {
		usable += ", unlocked until " + humantime.At(s.UnlockedUntil, time.Now())
	}
	_, err = fmt.Fprintf(a.out, "%s: %s: %s\n", s.Kind, printable(s.Backend), usable)
	return err
}

type keystoreInitCmd struct {
	jsonFlag
	KeyFile    string        `placeholder:"PATH" help:"The key file; made where there is none. With --passphrase it may be left out."`
	Passphrase bool          `help:"Seal the key file with a passphrase, for authferry keystore unlock."`
	Stdin      bool          `name:"passphrase-stdin" help:"The same, with the passphrase from stdin."`
	For        time.Duration `default:"12h" placeholder:"D" help:"How long it is unlocked from now; 12h by default."`
}

func (c *keystoreInitCmd) Run(a *app) error {
	if c.Passphrase || c.Stdin {
		return c.seal(a)
	}
	if c.KeyFile == "" {
		return &fault.Error{Code: fault.Usage, Message: "--key-file or --passphrase is missing", Next: []fault.Remedy{{Do: fault.Again, Name: "key-file", Value: "PATH"}, {Do: fault.Again, Name: "passphrase"}}}
	}
	warning, err := folder.InitFileKeystore(a.ctx, a.folder, c.KeyFile)
	if err != nil {
		return err
	}
	if warning != "" {
		a.term.warn(warning)
	}
	if !c.JSON {
		a.term.note("secrets are kept in sealed files, opened by %s; if you lose that file, the logins are gone", c.KeyFile)
	}
	return (&keystoreStatusCmd{c.jsonFlag}).Run(a)
}

func (c *keystoreInitCmd) seal(a *app) error {
	if err := checkSpan(c.For); err != nil {
		return err
	}
	u, err := folder.InitSealedKeystore(a.ctx, a.folder, c.KeyFile, c.For, func(fresh bool) (keystore.Secret, error) {
		return askPassphrase(a, c.Stdin, fresh)
	})
	if err != nil {
		return err
	}
	if !c.JSON {
		a.term.note("secrets are kept in sealed files, opened by a key file and its passphrase; if you lose either, the logins are gone")
	}
	return tellUnlocked(a, u, c.jsonFlag)
}

type keystoreUnlockCmd struct {
	jsonFlag
	For   time.Duration `default:"12h" placeholder:"D" help:"Lock it again by itself after this time; 12h by default."`
	Stdin bool          `name:"passphrase-stdin" help:"Read the passphrase from stdin."`
}

// Help is shown below the flags.
func (c *keystoreUnlockCmd) Help() string {
	return "Until then the key is in $XDG_RUNTIME_DIR/authferry, readable by you alone; authferry keystore lock removes it."
}

func (c *keystoreUnlockCmd) Run(a *app) error {
	if err := checkSpan(c.For); err != nil {
		return err
	}
	u, err := folder.UnlockKeystore(a.ctx, a.folder, c.For, func() (keystore.Secret, error) { return askPassphrase(a, c.Stdin, false) })
	if err != nil {
		return err
	}
	return tellUnlocked(a, u, c.jsonFlag)
}

func checkSpan(d time.Duration) error {
	if d < time.Second {
		return &fault.Error{Code: fault.Usage, Message: "--for must be a second or more"}
	}
	return nil
}

func tellUnlocked(a *app, u folder.Unlocked, j jsonFlag) error {
	if u.OnDisk {
		a.term.warn("XDG_RUNTIME_DIR may not be in memory: the unlocked key may be on disk until you lock it")
	}
	if !j.JSON {
		a.term.note("unlocked until %s; before that: authferry keystore lock", humantime.At(u.Until, time.Now()))
	}
	return (&keystoreStatusCmd{j}).Run(a)
}

type keystoreLockCmd struct{ jsonFlag }

func (c *keystoreLockCmd) Run(a *app) error {
	if err := folder.LockKeystore(a.folder); err != nil {
		return err
	}
	if c.JSON {
		s, err := folder.TryKeystore(a.ctx, a.folder)
		if err != nil {
			return err
		}
		return a.printJSON(s)
	}
	a.term.note("locked; unlock with: authferry keystore unlock")
	return nil
}

// askPassphrase reads one from stdin, or asks at the terminal; for a new one it asks twice.
func askPassphrase(a *app, stdin, fresh bool) (keystore.Secret, error) {
	if stdin {
		return a.readLine("passphrase")
	}
	if !a.present() {
		return keystore.Secret{}, &fault.Error{Code: fault.Usage, Message: "needs the passphrase, but there is no terminal to ask on", Next: []fault.Remedy{{Do: fault.Again, Name: "passphrase-stdin"}}}
	}
	first, err := a.askHidden("Passphrase: ", "passphrase")
	if err != nil || !fresh {
		return first, err
	}
	again, err := a.askHidden("Repeat it: ", "passphrase")
	if err == nil && !first.Equal(again) {
		err = &fault.Error{Code: fault.Usage, Message: "the two passphrases differ; nothing was made"}
	}
	return first, err
}

type keystoreMigrateCmd struct {
	jsonFlag
	To string `arg:"" enum:"keychain,file" help:"keychain or file."`
}

func (c *keystoreMigrateCmd) Run(a *app) error {
	moved, err := folder.MigrateKeystore(a.ctx, a.folder, keystore.Kind(c.To))
	if err != nil {
		return err
	}
	if !c.JSON {
		a.term.note("%s moved to the %s keystore", counted(moved, "item"), c.To)
	}
	return (&keystoreStatusCmd{c.jsonFlag}).Run(a)
}
