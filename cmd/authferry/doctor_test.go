package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

// OpenCode says nothing where its plugin is of another version or can't be loaded,
// so that doctor has to.
func TestDoctorLooksAtOpenCodesPlugin(t *testing.T) {
	t.Parallel()
	s := newScene(t, brokertest.Config{})
	check := func() *checkDoc {
		var found struct{ Checks []checkDoc }
		testenv.Must(t, json.Unmarshal([]byte(s.Must("", "doctor", "--json").Out), &found))
		for _, c := range found.Checks {
			if c.Name == "opencode" {
				return &c
			}
		}
		return nil
	}
	if c := check(); c != nil {
		t.Errorf("not set up: %+v", *c)
	}
	home := filepath.Join(s.Root, "home")
	authferrytest.SetUpOpenCode(t, home, s.Program)
	if c := check(); c == nil || c.Status != doctor.OK {
		t.Errorf("set up: %+v", c)
	}
	authferrytest.SetUpOpenCode(t, home, filepath.Join(s.Root, "elsewhere", "authferry"))
	if c := check(); c == nil || c.Status != doctor.Warning || c.Hint != "authferry setup opencode" {
		t.Errorf("set up for another authferry: %+v", c)
	}
}
