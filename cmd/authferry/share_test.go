package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/share/sharetest"
)

type clusterKey struct{}

// sharedCluster is the etcd of a script.
type sharedCluster struct{ *sharetest.Cluster }

func clusterOf(ts *testscript.TestScript) *sharetest.Cluster {
	return ts.Value(clusterKey{}).(*sharedCluster).Cluster
}

// TestSharedPools runs every command of shared pools on a real etcd, as users of several
// machines would. Each script has folders of its own for them.
func TestSharedPools(t *testing.T) {
	t.Parallel()
	cluster := sharetest.Shared(t)
	authferry := program(t)
	authferrytest.BuiltShare(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "share"),
		Setup: func(env *testscript.Env) error {
			if err := onPath(authferry)(env); err != nil {
				return err
			}
			env.Values[clusterKey{}] = &sharedCluster{cluster}
			env.Setenv("ETCD", strings.Join(cluster.Endpoints(), ","))
			env.Setenv("AUTHFERRY_KEYSTORE", "file")
			env.Setenv("AUTHFERRY", authferry)
			return nil
		},
		Condition: condition,
		Cmds: commandsOfScripts(map[string]func(*testscript.TestScript, bool, []string){
			// certificate NAME [POOL] makes NAME.crt and NAME.key, and ca.crt: those of a
			// holder, or of a consumer of the pool with that id; certificate NAME holder POOL
			// those of a holder of that pool alone.
			"certificate": func(ts *testscript.TestScript, _ bool, args []string) {
				name := strings.ReplaceAll(strings.TrimPrefix(ts.Name(), "TestSharedPools/"), "/", "-") + "-" + args[0]
				cluster := clusterOf(ts)
				made := cluster.Holder
				switch {
				case len(args) > 2: // certificate NAME holder POOL
					made = func(t testing.TB, name string, _ ...string) sharetest.Credentials {
						return cluster.Holder(t, name, args[2])
					}
				case len(args) > 1:
					made = func(t testing.TB, name string, _ ...string) sharetest.Credentials {
						return cluster.Consumer(t, name, args[1])
					}
				}
				c := made(t, name)
				for file, content := range map[string][]byte{"ca.crt": c.CA, args[0] + ".crt": c.Cert, args[0] + ".key": c.Key} {
					ts.Check(os.WriteFile(ts.MkAbs(file), content, 0o600))
				}
			},
			// etcdctl ARGS… is the administrator's.
			"etcdctl": func(ts *testscript.TestScript, _ bool, args []string) { clusterOf(ts).Etcdctl(t, args...) },
			// engine own makes an etcd for this script alone, which it can take away and bring
			// back (unplug, plug), back up to a file, and restore from there (backup, restore).
			"engine": func(ts *testscript.TestScript, _ bool, args []string) {
				c := ts.Value(clusterKey{}).(*sharedCluster)
				switch args[0] {
				case "own":
					c.Cluster = sharetest.New(t, sharetest.Options{})
					ts.Setenv("ETCD", strings.Join(c.Endpoints(), ","))
				case "unplug":
					c.LoseQuorum(t)
				case "plug":
					c.Restore(t)
				case "backup":
					ts.Setenv("BACKUP", c.Backup(t))
				case "restore":
					c.RestoreBackup(t, ts.Getenv("BACKUP"), false)
				}
			},
			// eventually PATH VALUE authferry ARGS… repeats a command, which other machines
			// have an effect on, until its document has that member.
			"eventually": func(ts *testscript.TestScript, neg bool, args []string) {
				for {
					ts.Check(runs(ts, args[2], args[3:]))
					v, found := lookUp(ts, args[0])
					if so := found && fmt.Sprint(v) == args[1]; so != neg {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			},
			// dies ends the rotators of this machine as a loss of power does.
			"dies": func(ts *testscript.TestScript, _ bool, _ []string) {
				locks, err := filepath.Glob(filepath.Join(ts.Getenv("AUTHFERRY_DIR"), "locks", "acc_*.lock"))
				ts.Check(err)
				for _, path := range locks {
					h, err := lock.ReadHolder(path)
					ts.Check(err)
					rotator, err := os.FindProcess(h.PID)
					ts.Check(err)
					ts.Check(rotator.Kill())
				}
				if len(locks) == 0 {
					ts.Fatalf("there is no rotator")
				}
			},
			// machine NAME makes NAME this machine from now on.
			"machine": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Setenv("AUTHFERRY_DIR", ts.MkAbs(args[0]))
				ts.Setenv("AUTHFERRY_KEY_FILE", ts.MkAbs(args[0]+"-key.txt"))
				if _, err := os.Stat(ts.MkAbs(args[0])); errors.Is(err, os.ErrNotExist) {
					ts.Check(ts.Exec("authferry", "keystore", "init", "--key-file", ts.MkAbs(args[0]+"-key.txt")))
				}
			},
		}),
	})
}
