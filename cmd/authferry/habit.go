package main

import (
	"slices"
	"strings"
)

// habits accepts what people type out of habit from other programs: --version, help
// [COMMAND], logout, and a group of commands alone, which lists them. (As a default command
// of kong's, the last would take a mistyped command for an argument.)
func habits(args []string) []string {
	args = slices.Clone(args)
	if at := commandAt(args); at >= 0 && args[at] == "help" {
		args[at] = "--help"
	}
	at := commandAt(args)
	if at < 0 {
		if i := slices.Index(args, "--version"); i >= 0 {
			args[i] = "version"
		}
		return args
	}
	if args[at] == "logout" {
		args[at] = "remove"
	}
	show := map[string]string{"config": "list", "keystore": "status", "provider": "list"}[args[at]]
	known := func(arg string) bool { return !strings.HasPrefix(arg, "-") || arg == "--help" || arg == "-h" }
	if show != "" && !slices.ContainsFunc(args[at+1:], known) && !slices.ContainsFunc(args[:at], known) {
		args = slices.Insert(args, at+1, show)
	}
	return args
}
