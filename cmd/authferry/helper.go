package main

import (
	"os"
	"time"

	"github.com/authferry/authferry/broker"
)

// helperCmd speaks the protocols in which programs ask a helper for a
// credential.
type helperCmd struct {
	APIKey apiKeyCmd `cmd:"" name:"api-key" help:"Print the token alone, for a program that runs a command to get its key."`
}

type apiKeyCmd struct {
	selection
	MinTTL time.Duration `name:"min-ttl" default:"5m" help:"Refresh first if the token is valid for less."`
}

// Run leaves nothing to guess: what runs this has no place to ask back, and a
// pool of somebody's own must not become the answer by being the only one.
func (c *apiKeyCmd) Run(a *app) error {
	if c.Account == "" && c.Pool == "" && os.Getenv("AUTHFERRY_ACCOUNT") == "" && os.Getenv("AUTHFERRY_POOL") == "" {
		return &broker.Error{Code: broker.Usage, Message: "a helper has to be told whose token to print", Hint: "authferry helper api-key --account ACCOUNT, or --pool POOL"}
	}
	return (&tokenCmd{selection: c.selection, MinTTL: c.MinTTL}).Run(a)
}
