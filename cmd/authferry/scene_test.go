package main

import (
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
)

// scene is a user of the program.
type scene struct {
	*authferrytest.Scene
	locks []*lock.Lock // that the test itself holds
}

func newScene(t *testing.T, cfg brokertest.Config) *scene {
	t.Helper()
	return &scene{Scene: authferrytest.New(t, program(t), cfg)}
}

func (s *scene) proxies() []folder.ProxyView {
	return folder.Proxies(folder.New(folder.Options{Dir: s.Dir}))
}
