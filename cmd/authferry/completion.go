package main

import (
	"embed"
	"path"
)

// completionCmd prints a shell's completion script. The scripts themselves know nothing:
// they call the hidden command complete.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish,powershell" help:"bash, zsh, fish or powershell."`
}

//go:embed completion
var completions embed.FS

// Help is shown by --help.
func (c *completionCmd) Help() string {
	return "The examples are for this session; such a line in your shell's start-up file (for zsh after compinit) is for every one."
}

func (c *completionCmd) Run(a *app) error {
	ending := map[string]string{"powershell": "ps1"}[c.Shell]
	if ending == "" {
		ending = c.Shell
	}
	script, err := completions.ReadFile(path.Join("completion", "authferry."+ending))
	if err == nil {
		_, err = a.out.Write(script)
	}
	return err
}
