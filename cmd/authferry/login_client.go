package main

import (
	"io"
	"strings"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/keystore"
)

// maxKey is far above any private key in PEM.
const maxKey = 64 << 10

// checkClient refuses words that don't go with the flow.
func (c *loginCmd) checkClient() error {
	switch {
	case c.Flow != string(account.FlowClient) && (c.SecretStdin || c.KeyStdin || c.KeyID != ""):
		return &fault.Error{Code: fault.Usage, Message: "--client-secret-stdin, --client-key-stdin and --key-id go with --flow client"}
	case c.KeyID != "" && !c.KeyStdin:
		return &fault.Error{Code: fault.Usage, Message: "--key-id goes with --client-key-stdin"}
	}
	return nil
}

// proof reads what the client of --flow client proves itself with.
func (c *loginCmd) proof(a *app, req *account.LoginRequest) (err error) {
	req.Proof.KeyID = c.KeyID
	switch {
	case c.SecretStdin:
		req.Proof.Secret, err = a.readSecret("client secret")
	case c.KeyStdin:
		req.Proof.Key, err = a.readKey()
	}
	return err
}

// readKey reads a private key, whose lines all count.
func (a *app) readKey() (keystore.Secret, error) {
	if isTerminal(a.in) {
		return keystore.Secret{}, &fault.Error{Code: fault.Usage, Message: "--client-key-stdin reads a file, and stdin is a terminal: add <key.pem"}
	}
	text, err := io.ReadAll(io.LimitReader(a.input(), maxKey+1))
	switch {
	case err != nil && a.ctx.Err() != nil:
		return keystore.Secret{}, errInterrupted
	case err != nil || len(text) > maxKey || strings.TrimSpace(string(text)) == "":
		return keystore.Secret{}, &fault.Error{Code: fault.Usage, Message: "expected a private key in PEM on stdin"}
	}
	return keystore.NewSecret(string(text)), nil
}
