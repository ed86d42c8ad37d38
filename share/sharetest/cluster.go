// Package sharetest has a real etcd for the tests of shared pools: one node or three of
// Debian's etcd-server on loopback, with mutual TLS and a user per certificate, set up by the
// script that people get (packaging/share-certs), which can lose its leader, its quorum and
// its newest writes. And a Redis, for what others do.
package sharetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

// Cluster is an etcd. Its methods may be used one at a time, unless they say otherwise.
type Cluster struct {
	dir   string
	plain bool
	quota int
	nodes []*node

	mu      sync.Mutex
	holders map[string]holder // by name
}

// Options say how a cluster is set up.
type Options struct {
	Nodes int  // 1 (for 0) or 3
	Plain bool // http, without certificates and users, so that its traffic can be read
	Quota int  // the most bytes of its database; 0 for etcd's own
}

// Credentials are what a machine reaches the engine with, in PEM. Those of a plain cluster
// are empty.
type Credentials struct{ CA, Cert, Key []byte }

// Need skips the test where a program is missing that the cluster is made of.
func Need(t testing.TB) {
	t.Helper()
	for _, program := range []string{"etcd", "etcdctl", "openssl", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s (Debian: etcd-server, etcd-client, openssl): %v", program, err)
		}
	}
}

// New starts a cluster that ends with the test.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	Need(t)
	c, err := start(o)
	testenv.Must(t, err)
	t.Cleanup(c.stop)
	return c
}

// shared is this test binary's cluster.
var shared struct {
	sync.Mutex
	*Cluster
	err error
}

// Shared returns the cluster of one node that all tests of this test binary use, each with
// machines or keys of its own. Its TestMain ends it by Ending.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	Need(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.Cluster == nil && shared.err == nil {
		shared.Cluster, shared.err = start(Options{})
	}
	testenv.Must(t, shared.err)
	return shared.Cluster
}

// Ending returns the tests, which end the shared cluster when they have run.
func Ending(tests testenv.Tests) testenv.Tests { return ending{tests} }

type ending struct{ testenv.Tests }

func (e ending) Run() int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.Cluster != nil {
			shared.stop()
		}
	}()
	return e.Tests.Run()
}

// Endpoints are the addresses of all nodes.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.endpoint)
	}
	return all
}

// holder is a machine that was made, and what for.
type holder struct {
	Credentials
	key string
}

// Holder makes a machine that may use all pools, or the one with the id. Several tests may
// call it at once; a name stands for one machine.
func (c *Cluster) Holder(t testing.TB, name string, pool ...string) Credentials {
	t.Helper()
	return c.machine(t, append([]string{"holder", name}, pool...))
}

// Consumer makes a machine that only gets access tokens of the pool.
func (c *Cluster) Consumer(t testing.TB, name, pool string) Credentials {
	t.Helper()
	return c.machine(t, []string{"consumer", name, pool})
}

func (c *Cluster) machine(t testing.TB, args []string) Credentials {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plain {
		return Credentials{}
	}
	key := strings.Join(args, " ")
	if known, ok := c.holders[args[1]]; ok && known.key == key {
		return known.Credentials
	} else if ok { // of an earlier run of the same test
		testenv.Must(t, c.administer("remove", args[1]))
	}
	for _, kind := range []string{".crt", ".key"} {
		_ = os.Remove(filepath.Join(c.dir, "certs", args[1]+kind)) // of one that was removed
	}
	testenv.Must(t, c.administer(args...))
	made, err := c.credentials(args[1])
	testenv.Must(t, err)
	c.holders[args[1]] = holder{made, key}
	return made
}

// Remove shuts the machine out.
func (c *Cluster) Remove(t testing.TB, name string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	testenv.Must(t, c.administer("remove", name))
	delete(c.holders, name)
}

// Administer runs share-certs with the arguments, and the commands that it prints.
func (c *Cluster) administer(args ...string) error {
	commands, err := c.shareCerts(args...)
	if err != nil {
		return err
	}
	_, err = c.run(commands, c.Endpoints(), "sh", "-e")
	return err
}

func (c *Cluster) credentials(name string) (made Credentials, err error) {
	for file, content := range map[string]*[]byte{"ca.crt": &made.CA, name + ".crt": &made.Cert, name + ".key": &made.Key} {
		if *content, err = os.ReadFile(filepath.Join(c.dir, "certs", file)); err != nil {
			return made, err
		}
	}
	return made, nil
}

// Etcdctl runs etcdctl as the administrator and returns what it prints. Its failure is the
// test's, which goes on.
func (c *Cluster) Etcdctl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.run(nil, c.Endpoints(), "etcdctl", args...)
	testenv.Check(t, err)
	if len(args) > 2 && args[0] == "user" && args[1] == "delete" {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.holders, args[2])
	}
	return string(out)
}

func (c *Cluster) shareCerts(args ...string) ([]byte, error) {
	script, err := repositoryFile("packaging/share-certs")
	if err != nil {
		return nil, err
	}
	return c.run(nil, nil, "sh", append([]string{script, "-d", filepath.Join(c.dir, "certs")}, args...)...)
}

func (c *Cluster) run(stdin []byte, endpoints []string, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+strings.Join(endpoints, ","))
	if !c.plain && name == "etcdctl" {
		certs := filepath.Join(c.dir, "certs")
		cmd.Env = append(cmd.Env, "ETCDCTL_CACERT="+filepath.Join(certs, "ca.crt"), "ETCDCTL_CERT="+filepath.Join(certs, "root.crt"), "ETCDCTL_KEY="+filepath.Join(certs, "root.key"))
	}
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s%s", name, strings.Join(args, " "), err, errs.Bytes(), out.Bytes())
	}
	return out.Bytes(), nil
}

func repositoryFile(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if path := filepath.Join(dir, name); isFile(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w above this folder", name, os.ErrNotExist)
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// start starts a cluster and waits until it answers.
func start(o Options) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "authferry-etcd-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, plain: o.Plain, quota: o.Quota, holders: map[string]holder{}}
	if err := c.setUp(max(o.Nodes, 1)); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) setUp(nodes int) error {
	if !c.plain {
		if _, err := c.shareCerts("init"); err != nil {
			return err
		}
	}
	// An address of its own on loopback for each node: no other program has its ports.
	base := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(250), rand.IntN(256)) // #nosec G404 -- not a secret
	for i := range nodes {
		n := &node{name: "n" + strconv.Itoa(i), host: base + strconv.Itoa(10+i), data: filepath.Join(c.dir, "n"+strconv.Itoa(i))}
		c.nodes = append(c.nodes, n)
		if err := c.configure(n); err != nil {
			return err
		}
	}
	if err := c.startAll("new", "authferry-"+base); err != nil {
		return err
	}
	if c.plain {
		return nil
	}
	return c.administer("auth")
}

// configure takes the settings that people get from the script, with this node's paths and
// addresses.
func (c *Cluster) configure(n *node) error {
	scheme := "https"
	if c.plain {
		scheme = "http"
		n.env = []string{"ETCD_NAME=" + n.name, "ETCD_LISTEN_CLIENT_URLS=http://" + n.host + ":2379", "ETCD_ADVERTISE_CLIENT_URLS=http://" + n.host + ":2379"}
	} else {
		settings, err := c.shareCerts("server", n.name, n.host)
		if err != nil {
			return err
		}
		line := regexp.MustCompile(`(?m)^(ETCD_\w+)="(.*)"$`)
		replace := strings.NewReplacer("/etc/etcd/", filepath.Join(c.dir, "certs")+string(filepath.Separator), "0.0.0.0", n.host)
		for _, m := range line.FindAllStringSubmatch(string(settings), -1) {
			n.env = append(n.env, m[1]+"="+replace.Replace(m[2]))
		}
	}
	if c.quota > 0 {
		n.env = append(n.env, "ETCD_QUOTA_BACKEND_BYTES="+strconv.Itoa(c.quota))
	}
	n.endpoint = scheme + "://" + n.host + ":2379"
	n.peer = scheme + "://" + n.host + ":2380"
	return nil
}

// startAll starts all nodes as a cluster, and waits until each answers.
func (c *Cluster) startAll(state, token string) error {
	var peers []string
	for _, n := range c.nodes {
		peers = append(peers, n.name+"="+n.peer)
	}
	for _, n := range c.nodes {
		n.cluster = []string{
			"ETCD_DATA_DIR=" + n.data, "ETCD_LISTEN_PEER_URLS=" + n.peer, "ETCD_INITIAL_ADVERTISE_PEER_URLS=" + n.peer,
			"ETCD_INITIAL_CLUSTER=" + strings.Join(peers, ","), "ETCD_INITIAL_CLUSTER_TOKEN=" + token, "ETCD_INITIAL_CLUSTER_STATE=" + state,
			"ETCD_LISTEN_METRICS_URLS=http://" + n.host + ":2381",
		}
		if len(c.nodes) == 1 { // nobody to wait for
			n.cluster = append(n.cluster, "ETCD_HEARTBEAT_INTERVAL=10", "ETCD_ELECTION_TIMEOUT=50")
		}
		if err := n.start(); err != nil {
			return err
		}
	}
	return c.healthy()
}

// healthy waits until every node answers a linearizable read.
func (c *Cluster) healthy() error {
	for _, n := range c.nodes {
		if err := n.healthy(); err != nil {
			return err
		}
	}
	return nil
}

// stop ends all nodes and removes what they have.
func (c *Cluster) stop() {
	for _, n := range c.nodes {
		n.kill()
	}
	_ = os.RemoveAll(c.dir)
}

// DataDirs are the nodes' folders, for who looks for a secret in them.
func (c *Cluster) DataDirs() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.data)
	}
	return all
}

// Requests counts the calls of a method ("Txn", "Range") that all running nodes got since
// they started.
func (c *Cluster) Requests(t testing.TB, method string) int {
	t.Helper()
	total := 0
	for _, n := range c.nodes {
		if n.running() {
			total += n.metric(t, `grpc_server_started_total{grpc_method="`+method+`",grpc_service="etcdserverpb.KV",grpc_type="unary"}`)
		}
	}
	return total
}

// Leader is the number of the node that leads, -1 if none says that it does.
func (c *Cluster) Leader(t testing.TB) int {
	t.Helper()
	for i, n := range c.nodes {
		if n.running() && n.metric(t, "etcd_server_is_leader") == 1 {
			return i
		}
	}
	return -1
}

// KillLeader kills the leader and returns its number.
func (c *Cluster) KillLeader(t testing.TB) int {
	t.Helper()
	for range 600 {
		if leader := c.Leader(t); leader >= 0 {
			c.nodes[leader].kill()
			return leader
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("no node leads")
	return -1
}

// LoseQuorum kills the leader and, of three, one more.
func (c *Cluster) LoseQuorum(t testing.TB) {
	t.Helper()
	leader := c.KillLeader(t)
	if len(c.nodes) > 1 {
		c.nodes[(leader+1)%len(c.nodes)].kill()
	}
}

// Restore starts the nodes again that were killed, with what they have, and waits until all
// answer.
func (c *Cluster) Restore(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if !n.running() {
			testenv.Must(t, n.start())
		}
	}
	testenv.Must(t, c.healthy())
}

// Backup makes a snapshot, as docs/shared-pools.md says, and returns its file.
func (c *Cluster) Backup(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup.db")
	_, err := c.run(nil, c.Endpoints()[:1], "etcdctl", "snapshot", "save", file)
	testenv.Must(t, err)
	return file
}

// RestoreBackup stops all nodes, gives them what the backup has, and starts them. With the
// token that they had, their cluster's id stays the same; with another it changes.
func (c *Cluster) RestoreBackup(t testing.TB, file string, sameToken bool) {
	t.Helper()
	token, peers := "", ""
	for _, setting := range c.nodes[0].cluster {
		if value, ok := strings.CutPrefix(setting, "ETCD_INITIAL_CLUSTER_TOKEN="); ok {
			token = value
		}
		if value, ok := strings.CutPrefix(setting, "ETCD_INITIAL_CLUSTER="); ok {
			peers = value
		}
	}
	if !sameToken {
		token += "x"
	}
	for _, n := range c.nodes {
		n.kill()
		testenv.Must(t, os.RemoveAll(n.data))
		c.Etcdctl(t, "snapshot", "restore", file, "--name", n.name, "--initial-cluster", peers, "--initial-cluster-token", token,
			"--initial-advertise-peer-urls", n.peer, "--data-dir", n.data)
	}
	testenv.Must(t, c.startAll("existing", token))
}

// Freeze stops the node as SIGSTOP does; what it returns lets it go on.
func (c *Cluster) Freeze(t testing.TB, node int) (resume func()) {
	t.Helper()
	testenv.Must(t, c.nodes[node].signal(false))
	return func() { testenv.Check(t, c.nodes[node].signal(true)) }
}
