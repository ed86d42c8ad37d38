package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// printHelp is kong's help with examples at its end.
func printHelp(options kong.HelpOptions, c *kong.Context) error {
	more := c.Model.HelpFlag
	c.Model.HelpFlag = nil // otherwise kong adds a line of its own, longer than 60 columns
	at := c.Selected()
	if at == nil {
		at = c.Model.Node
	}
	// Groups are for the list of all commands, not for a single command's help.
	for n := at; n != nil; n = n.Parent {
		n.Group = nil
	}
	at.Children = slices.DeleteFunc(at.Children, func(n *kong.Node) bool { return n.Hidden })
	err := kong.DefaultHelpPrinter(options, c)
	c.Model.HelpFlag = more
	if err != nil {
		return err
	}
	text := ""
	if lines := examplesOf(commandName(at)); lines != nil {
		text = "\nExamples:\n  " + strings.Join(lines, "\n  ") + "\n"
	}
	if len(at.Children) > 0 {
		text += fmt.Sprintf("\nMore on a command: %s COMMAND --help\n", strings.TrimSpace("authferry "+commandName(at)))
	}
	_, err = c.Stdout.Write([]byte(text))
	return err
}

// commandName is the command as a person types it: "keystore init"; empty: authferry alone.
func commandName(n *kong.Node) string {
	if n == nil || n.Type != kong.CommandNode {
		return ""
	}
	if n.Parent != nil && n == n.Parent.DefaultCmd {
		return commandName(n.Parent)
	}
	return strings.TrimSpace(commandName(n.Parent) + " " + n.Name)
}

// examplesOf are lines to copy, with comments where they need one. The map is made on
// demand, so that a token doesn't wait for it.
func examplesOf(command string) []string {
	text, ok := map[string]string{ // #nosec G101 -- no credentials, only text about tokens
		"": `
authferry login github --client-id ID
authferry token github
authferry exec github -- gh api user
authferry status`,
		"login": `
# a remote MCP server
authferry login https://mcp.example.com/mcp
authferry login google --client-id ID
# on a machine without a browser
authferry login github --client-id ID --flow device
# a key instead of a login
authferry login openai --label Work --api-key-stdin <key
# a token for a year, of claude setup-token
authferry login anthropic --label Work --token-stdin
# the provider says that the login is over
authferry login google --renew Work`,
		"status": `
authferry status
authferry status --json | jq '.pools[].current'`,
		"list": `
authferry list
authferry list --json | jq -r '.accounts[].label'`,
		"info": `
authferry info
authferry info Work
authferry info github/Work --json`,
		"whoami": `
authferry whoami
authferry whoami --json | jq '.accounts[].by'`,
		"import": `
# the logins that you have already: look, then move
authferry import opencode --dry-run
authferry import opencode --move`,
		"import grant": `
authferry import grant acme --label Work <grant.json`,
		"import opencode": `
authferry import opencode --dry-run
authferry import opencode --move
authferry import opencode ~/backup/auth.json --move`,
		"import opencode-mcp": `
authferry import opencode-mcp --dry-run
authferry import opencode-mcp --move`,
		"import claude-code": `
authferry import claude-code --dry-run
authferry import claude-code --move`,
		"import codex": `
authferry import codex --dry-run
authferry import codex --move --client-id ID`,
		"import gemini": `
authferry import gemini --dry-run
authferry import gemini --move --client-id ID`,
		"import multi-auth": `
authferry import multi-auth --dry-run
authferry import multi-auth --move`,
		"import antigravity": `
authferry import antigravity --dry-run
authferry import antigravity --move --client-id ID`,
		"rename": `
authferry rename ada@example.com Work
authferry rename github/Work Forge`,
		"refresh": `
authferry refresh Work
# the provider asked to wait, and you know better
authferry refresh Work --now
authferry refresh --all
authferry refresh Work --json | jq -r .expires_at`,
		"remove": `
authferry remove Work
# forget it here, let it live at the provider
authferry remove Work --no-revoke --yes`,
		"token": `
authferry token
authferry token github --min-ttl 10m
authferry token --pool work --json
# every account has hit its limit: wait, but not for ever
authferry token --pool work --max-wait 30m
# the API answered 401 to the token of this lease
authferry token --rejected acc_k3m7q2x5n4p6r8t2.7`,
		"header": `
authferry header github |
  curl -H @- https://api.github.com/user
authferry header --account Work --json`,
		"run": `
# Claude Code goes on with the next account at a limit
authferry run -- claude
authferry run --pool work -- codex
# your own program: see AUTHFERRY_PROXY_URL
authferry run acme -- ./agent.sh`,
		"serve": `
authferry serve
authferry serve acme --pool work --listen 127.0.0.1:9000
OPENAI_API_KEY=$(authferry helper proxy-key) ./agent.sh`,
		"exec": `
authferry exec github -- gh api user
authferry exec --pool work --env API_TOKEN -- ./deploy.sh
# of two providers, and until an account is free
authferry exec --wait acme github -- ./release.sh`,
		"use": `
# make it current in its pool
authferry use Personal
# what runs below this folder uses the pool
authferry use --pool work --dir ~/work
authferry use --list
authferry use --unbind --dir ~/work`,
		"report": `
# report a 429, and go on with the next account's token
authferry report --next <answer.json
echo '{"lease":"LEASE","status":429}' | authferry report
authferry report Work --status 429 --retry-after 1h`,
		"holds": `
authferry holds
# leave it alone for half a day
authferry holds add Work 12h
authferry holds clear Work`,
		"holds add": `
authferry holds add Work 12h
authferry holds add Work 2d --scope model:opus`,
		"holds clear": `
authferry holds clear Work
authferry holds clear Work --scope model:opus`,
		"disable": `
authferry disable Personal`,
		"enable": `
authferry enable Personal`,
		"move": `
authferry move Personal --pool private`,
		"order": `
authferry order Work first
authferry order Work 2`,
		"share": `
authferry share start team \
  --endpoint https://etcd.example.com:2379 \
  --ca ca.pem --cert laptop.pem --key laptop-key.pem
# a machine that you reach by ssh
authferry share invite team --cert 2.pem --key 2-key.pem |
  ssh desktop authferry share join
authferry share status`,
		"share start": `
authferry share start team \
  --endpoint https://etcd.example.com:2379 \
  --ca ca.pem --cert laptop.pem --key laptop-key.pem`,
		"share invite": `
# a machine that you reach by ssh
authferry share invite team --cert 2.pem --key 2-key.pem |
  ssh desktop authferry share join
# the runners of a CI: its ticket is a secret of the CI
authferry share invite team --consumer --passing \
  --reusable --expires-in 720h --cert ci.pem --key ci.key`,
		"share join": `
authferry share join <ticket.txt
authferry share join --as work --machine desktop`,
		"share status": `
authferry share status
authferry share status --json | jq '.pools[].engine'`,
		"share members": `
authferry share members team`,
		"share leave": `
authferry share leave team`,
		"share remove": `
authferry share remove team laptop
authferry share remove team tick_k3m7q2x5n4p6r8t2`,
		"share recover": `
authferry share recover Work`,
		"share doctor": `
authferry share doctor
authferry share doctor team --fix`,
		"share serve": `
authferry share serve`,
		"setup": `
# what is installed here, and what is set up
authferry setup
authferry setup git --print
authferry setup opencode --pool work
authferry setup docker --host registry.example.com
authferry setup serve
authferry setup claude-code --proxy
authferry setup git --undo`,
		"helper": `
# setup enters these into a program's configuration
authferry setup git
authferry helper api-key --account Work`,
		"helper proxy-key": `
authferry helper proxy-key
authferry helper proxy-key http://127.0.0.1:8417`,
		"helper api-key": `
authferry helper api-key --account Work
authferry helper api-key --pool work --min-ttl 30m`,
		"helper goauth": `
go env -w "GOAUTH=$(command -v authferry) helper goauth"
authferry helper goauth --account Work`,
		"helper git": `
git config credential.helper '!authferry helper git'
printf 'protocol=https\nhost=github.com\n\n' |
  authferry helper git get`,
		"helper docker": `
echo registry.example.com | authferry helper docker get`,
		"helper mcp-headers": `
authferry helper mcp-headers https://mcp.example.com/mcp
authferry helper mcp-headers --account docs`,
		"helper kubernetes": `
authferry helper kubernetes --account Work`,
		"helper cargo": `
# in .cargo/config.toml:
#   credential-provider = ["authferry", "helper", "cargo"]
authferry helper cargo --account Work`,
		"helper terraform": `
authferry helper terraform get app.example.com`,
		"mcp connect": `
# what a client's configuration calls
authferry mcp connect mcp.example.com
authferry mcp connect https://mcp.example.com/mcp -a Work
# who is at this machine is asked for a new login
authferry mcp connect mcp.example.com --login`,
		"mcp": `
authferry setup mcp --pool work
# what an agent's configuration calls
authferry mcp --pool work`,
		"doctor": `
authferry doctor
authferry doctor --fix
authferry doctor --json | jq '.checks[].status'`,
		"keystore": `
authferry keystore status
# a machine without a keychain
authferry keystore init --key-file ~/.authferry-key`,
		"keystore status": `
authferry keystore status
authferry keystore status --json | jq .usable`,
		"keystore init": `
authferry keystore init --key-file ~/.authferry-key
# a key file with a passphrase: unlock it each day
authferry keystore init --passphrase`,
		"keystore unlock": `
authferry keystore unlock
authferry keystore unlock --for 1h`,
		"keystore lock": `
authferry keystore lock`,
		"keystore migrate": `
authferry keystore migrate keychain
authferry keystore init --key-file ~/.authferry-key
authferry keystore migrate file`,
		"provider": `
authferry provider list
authferry provider show github
authferry provider add acme \
  --issuer https://login.example.com \
  --client-id ID`,
		"provider list": `
authferry provider list
authferry provider list --json | jq -r '.providers[].name'`,
		"provider show": `
authferry provider show github`,
		"provider add": `
# a remote MCP server
authferry provider add docs \
  --mcp https://mcp.example.com/mcp
# by discovery
authferry provider add acme \
  --issuer https://login.example.com \
  --client-id ID --api-origin https://api.example.com
# a built-in one with your own registration
authferry provider add google --from google \
  --client-id ID --client-secret-stdin <secret.txt`,
		"provider remove": `
authferry provider remove acme`,
		"config": `
authferry config list
authferry config set failover off`,
		"config get": `
authferry config get strategy`,
		"config set": `
# never change accounts by itself
authferry config set failover off
# prefer the account whose quota comes back first
authferry config set strategy soonest-reset
# another account before the limit: at 90% of a quota
authferry config set switch_at 90
authferry config set throttle_max 30s`,
		"config list": `
authferry config list`,
		"completion": `
source <(authferry completion bash)
source <(authferry completion zsh)
authferry completion fish | source
# PowerShell
authferry completion powershell | Out-String | iex`,
		"man": `
authferry man | man -l -`,
		"version": `
authferry version
authferry version --json | jq -r .version`,
	}[command]
	if !ok {
		return nil
	}
	return strings.Split(strings.TrimPrefix(text, "\n"), "\n")
}
