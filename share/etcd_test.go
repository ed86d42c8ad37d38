package share_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/etcd"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

func overEtcd(_ context.Context, c share.Connection) (engine.Engine, error) {
	return etcd.Open(etcd.Config{Endpoints: c.Endpoints, CA: []byte(c.CA), Cert: []byte(c.Cert), Key: []byte(c.Key.Reveal())})
}

// The same on a real etcd, with certificates and rights as its administrator's script makes
// them: a machine that was removed there is refused, and so is a consumer that would do what
// holders do. Nothing on etcd's disk is a secret.
func TestOnEtcd(t *testing.T) {
	t.Parallel()
	c := sharetest.Shared(t)
	s := newScene(t)
	s.engine = overEtcd
	mine := c.Holder(t, "laptop")
	a := s.machine("laptop")
	ada, key := a.login("ada"), a.apiKey("ada")
	req := a.startRequest()
	req.Endpoints, req.CA, req.Cert, req.Key = c.Endpoints(), string(mine.CA), string(mine.Cert), string(mine.Key)
	started, err := share.Start(t.Context(), a.folder(), a.dial, req)
	testenv.Must(t, err)
	invitation := func(made sharetest.Credentials, req pipe.InviteRequest) pipe.InviteRequest {
		req.Cert, req.Key = string(made.Cert), string(made.Key)
		return req
	}
	wantCode(t, testenv.Err(share.Invite(t.Context(), a.folder(), a.dial, invitation(mine, pipe.InviteRequest{Pool: "work"}))), fault.Usage)
	b := a.joined("desktop", invitation(c.Holder(t, "removed"), pipe.InviteRequest{}))
	x := a.joined("runner", invitation(c.Consumer(t, "runner", started.Pool.ID), pipe.InviteRequest{Consumer: true}))
	testenv.Must(t, b.refresh(ada.ID))
	sameEverywhere(t, ada.ID, a, b, x)
	sameEverywhere(t, key.ID, a, b)
	secrets := []string{a.refreshToken(ada.ID), a.token(ada.ID), a.token(key.ID), "AGE-SECRET-KEY"}

	done, err := share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "desktop"})
	testenv.Must(t, err)
	if len(done.Revoke) != 1 || len(done.Rotated) != 1 || len(done.Replace) != 1 {
		t.Fatalf("%+v", done)
	}
	c.Etcdctl(t, strings.Fields(done.Revoke[0])[1:]...)
	wantCode(t, b.refresh(ada.ID), fault.NotAMember)
	sameEverywhere(t, ada.ID, a, x)
	for _, check := range append(a.doctor(false), x.doctor(false)...) {
		if check.Status == "fail" {
			t.Errorf("%+v", check)
		}
	}
	if s.server.Reuse() != 0 {
		t.Errorf("%d reuses", s.server.Reuse())
	}
	backup := t.TempDir()
	c.Etcdctl(t, "snapshot", "save", filepath.Join(backup, "snapshot"))
	secrets = append(secrets, a.refreshToken(ada.ID), a.token(ada.ID))
	seen := 0
	for _, dir := range append(c.DataDirs(), backup) {
		testenv.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if strings.Contains(string(data), started.Pool.ID) {
				seen++
			}
			for _, secret := range secrets {
				if strings.Contains(string(data), secret) {
					t.Errorf("%s has a secret", path)
				}
			}
			return err
		}))
	}
	if seen < 2 {
		t.Error("the pool isn't where it was looked for")
	}
}

// Three nodes lose their quorum in the middle of everything, and come back.
func TestStartWithoutQuorum(t *testing.T) {
	proofs.Only(t, "it starts three etcds, and two of them again")
	t.Parallel()
	c := sharetest.New(t, sharetest.Options{Nodes: 3})
	s := newScene(t)
	s.engine = overEtcd
	a := s.machine("laptop")
	ada := a.login("ada")
	mine := c.Holder(t, "laptop")
	req := a.startRequest()
	req.Endpoints, req.CA, req.Cert, req.Key = c.Endpoints(), string(mine.CA), string(mine.Cert), string(mine.Key)
	start := func() error { return testenv.Err(share.Start(t.Context(), a.folder(), a.dial, req)) }
	lost := false
	s.before = func() {
		if !lost {
			lost = true
			c.LoseQuorum(t)
		}
	}
	wantCode(t, start(), fault.EngineUnreachable)
	if folder.Shared(a.account(ada.ID), nil) {
		t.Error("an account is shared that the engine doesn't know")
	}
	c.Restore(t)
	testenv.Must(t, start())
	testenv.Must(t, a.refresh(ada.ID))
}
