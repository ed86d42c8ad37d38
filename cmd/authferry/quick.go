package main

import (
	"strings"
	"time"

	"github.com/authferry/authferry/broker/pool"
)

// quickToken parses the usual forms of the token command without kong, whose reflection
// takes a tenth of a token's time. If it isn't sure (help, mistakes, other flags) it
// reports false, and kong parses. A test proves that the two never differ.
func quickToken(args []string) (*tokenCmd, *globals, bool) {
	if len(args) == 0 || args[0] != "token" {
		return nil, nil, false
	}
	c, flags := &tokenCmd{MinTTL: pool.DefaultMinTTL}, new(globals)
	ok := quickly(args[1:], &c.Provider, map[string]*bool{"--json": &c.JSON, "--no-input": &flags.NoInput}, func(name, value string) bool {
		if name == "--rejected" {
			c.Rejected = value
			return true
		}
		return c.quick(name, value) || quickDuration(name, value, "--min-ttl", &c.MinTTL)
	})
	return c, flags, ok
}

// quickHeaders is the same for what clients run to get a remote MCP server's headers.
func quickHeaders(args []string) (*mcpHeadersCmd, *globals, bool) {
	if len(args) < 2 || args[0] != "helper" || args[1] != "mcp-headers" {
		return nil, nil, false
	}
	c, flags := &mcpHeadersCmd{whose: whose{MinTTL: 5 * time.Minute}}, new(globals)
	ok := quickly(args[2:], &c.URL, map[string]*bool{"--no-input": &flags.NoInput}, func(name, value string) bool {
		return c.quick(name, value) || quickDuration(name, value, "--min-ttl", &c.MinTTL)
	})
	return c, flags, ok
}

// quickly parses flags and at most one operand. take gets each flag that has a value, and
// reports whether it knows it.
func quickly(args []string, operand *string, switches map[string]*bool, take func(name, value string) bool) bool {
	for i := 0; i < len(args); i++ {
		if on := switches[args[i]]; on != nil {
			*on = true
			continue
		}
		if !strings.HasPrefix(args[i], "-") {
			if *operand != "" || args[i] == "" {
				return false
			}
			*operand = args[i]
			continue
		}
		name, value, inline := strings.Cut(args[i], "=")
		if !inline {
			if i++; i == len(args) || strings.HasPrefix(args[i], "-") {
				return false
			}
			value = args[i]
		}
		if value == "" || !take(name, value) {
			return false
		}
	}
	return true
}

func (w *which) quick(name, value string) bool {
	switch name {
	case "--account":
		w.Account = value
	case "--pool":
		w.Pool = value
	case "--hold-scope":
		w.HoldScope = value
	default:
		return false
	}
	return true
}

func quickDuration(name, value, want string, to *time.Duration) bool {
	if name != want {
		return false
	}
	d, err := time.ParseDuration(value)
	*to = d
	return err == nil
}

// quickView is the same for status and list, which people run in their prompts: alone, with
// --short or with --json.
func quickView(args []string) (command interface{ Run(*app) error }, ok bool) {
	if len(args) == 2 && args[0] == "status" && args[1] == "--short" {
		return &statusCmd{Short: true}, true
	}
	if len(args) == 0 || len(args) > 2 || len(args) == 2 && args[1] != "--json" {
		return nil, false
	}
	form := jsonFlag{JSON: len(args) == 2}
	switch args[0] {
	case "status":
		return &statusCmd{jsonFlag: form}, true
	case "list":
		return &listCmd{form}, true
	}
	return nil, false
}
