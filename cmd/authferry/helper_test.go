package main

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
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

// The go command has many requests under way when one is refused, and asks about
// each: one refresh, and one account that is left.
func TestGoAsksAboutManyRequests(t *testing.T) {
	for _, test := range []struct {
		answer         string
		refreshes      int
		held, accepted string
	}{
		{answer: "HTTP/2.0 401 Unauthorized\n\n", refreshes: 1, accepted: "ada"},
		{answer: "HTTP/2.0 429 Too Many Requests\nRetry-After: 3600\n\n", held: "ada", accepted: "bob"},
	} {
		t.Run(test.answer[9:12], func(t *testing.T) {
			s := newScene(t, brokertest.Config{})
			c := newSite(s, true, nil)
			c.logIn("ada", "bob", "eve")
			var all sync.WaitGroup
			answers := make([]outcome, 16)
			for i := range answers {
				cmd := s.command("helper", "goauth", "--pool", "sim", c.URL+"/x")
				cmd.Stdin = strings.NewReader(test.answer)
				all.Go(func() { answers[i] = s.finish(cmd) })
			}
			all.Wait()
			tokens := map[string]bool{}
			for _, a := range answers {
				if a.code != 0 {
					t.Errorf("%d %s", a.code, a.err)
				}
				tokens[a.out] = true
			}
			if len(tokens) != 1 {
				t.Errorf("%d different answers", len(tokens))
			}
			_, token, _ := strings.Cut(strings.TrimSpace(answers[0].out), "Bearer ")
			if status, user, _ := c.ask(token); status != 200 || user != test.accepted {
				t.Errorf("the token is of %q, %d; want %s's", user, status, test.accepted)
			}
			if held := s.held(); held != test.held {
				t.Errorf("held: %q, want %q", held, test.held)
			}
			c.wantRefreshes(test.refreshes)
		})
	}
}
