package main

import (
	"slices"
	"strings"
	"testing"
)

func TestHelperArgs(t *testing.T) {
	for _, test := range []struct {
		program, args, want string
	}{
		{"authferry", "token --json", "token --json"},
		{"/usr/bin/docker-credential-authferry", "get", "helper docker get"},
		{"Git-Credential-Authferry.EXE", "get", "helper git get"},
		{"./terraform-credentials-authferry", "--account A get h", "helper terraform --account A get h"},
		{"docker-credential-other", "get", "get"},
		{"/opt/authferry", "--cargo-plugin", "helper cargo --cargo-plugin"},
		{"/opt/authferry", "helper cargo --cargo-plugin", "helper cargo --cargo-plugin"},
		{"authferry", "", ""},
	} {
		if got := helperArgs(test.program, strings.Fields(test.args)); !slices.Equal(got, strings.Fields(test.want)) {
			t.Errorf("%s %s: %q", test.program, test.args, got)
		}
	}
}
