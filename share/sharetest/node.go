package sharetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

// node is one etcd.
type node struct {
	name, host, data, endpoint, peer string
	env, cluster                     []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

func (n *node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log.Reset()
	n.cmd = exec.CommandContext(context.Background(), "etcd", "--log-level", "error")
	n.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, append(n.env, n.cluster...)...)
	n.cmd.Stdout, n.cmd.Stderr = &n.log, &n.log
	if err := startChild(n.cmd); err != nil {
		return err
	}
	n.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(n.cmd, n.done)
	return nil
}

func (n *node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

func (n *node) kill() {
	if n.running() {
		_ = n.cmd.Process.Kill()
		<-n.done
	}
}

func (n *node) healthy() error {
	for range 1200 {
		if !n.running() {
			return fmt.Errorf("etcd ended: %s", n.log.Bytes())
		}
		if text, err := n.get("/health"); err == nil && strings.Contains(text, `"health":"true"`) {
			return nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	return errors.New("etcd answers no read")
}

// metric is a number that the node tells of itself, 0 where it has none as yet.
func (n *node) metric(t testing.TB, name string) int {
	t.Helper()
	text, err := n.get("/metrics")
	testenv.Must(t, err)
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			testenv.Must(t, err)
			return int(number)
		}
	}
	return 0
}

// get asks over the port for metrics, which needs no certificate.
func (n *node) get(path string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+n.host+":2381"+path, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	return string(content), err
}
