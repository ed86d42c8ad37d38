package main

import (
	"os"
	"testing"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

// scene is a user of this test binary.
type scene struct {
	*authferrytest.Scene
	locks []*lock.Lock // that the test itself holds
}

func newScene(t *testing.T, cfg brokertest.Config) *scene {
	t.Helper()
	self, err := os.Executable()
	testenv.Must(t, err)
	return &scene{Scene: authferrytest.New(t, self, cfg)}
}

func (s *scene) proxies() []folder.ProxyView {
	return folder.Proxies(broker.New(broker.Options{Dir: s.Dir}).Folder)
}
