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
	for i := 1; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		switch args[i] {
		case "--json":
			c.JSON = true
			continue
		case "--no-input":
			flags.NoInput = true
			continue
		}
		if !strings.HasPrefix(args[i], "-") {
			if c.Provider != "" || args[i] == "" {
				return nil, nil, false
			}
			c.Provider = args[i]
			continue
		}
		if !inline {
			if i++; i == len(args) || strings.HasPrefix(args[i], "-") {
				return nil, nil, false
			}
			value = args[i]
		}
		if value == "" {
			return nil, nil, false
		}
		switch name {
		case "--account":
			c.Account = value
		case "--pool":
			c.Pool = value
		case "--hold-scope":
			c.HoldScope = value
		case "--rejected":
			c.Rejected = value
		case "--min-ttl":
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, nil, false
			}
			c.MinTTL = d
		default:
			return nil, nil, false
		}
	}
	return c, flags, true
}

// quickView is the same for what stands in people's prompts, alone, short or with --json.
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
