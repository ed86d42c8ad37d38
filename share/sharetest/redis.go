package sharetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

// Redis is a redis-server that writes to its disk before it answers. Tests have on it what
// other programs do in the place of share: a lock with a time to live. Its methods may be
// used at once.
type Redis struct {
	dir string

	mu   sync.Mutex
	cmd  *exec.Cmd
	conn *RedisConn
}

// NeedRedis skips the test where there is no redis-server.
func NeedRedis(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skipf("needs redis-server: %v", err)
	}
}

// NewRedis starts one that ends with the test.
func NewRedis(t testing.TB) *Redis {
	t.Helper()
	NeedRedis(t)
	r := &Redis{dir: t.TempDir()}
	testenv.Must(t, r.Start())
	t.Cleanup(func() { r.Kill() })
	return r
}

// Socket is where it listens.
func (r *Redis) Socket() string { return filepath.Join(r.dir, "redis") }

// Kill kills it.
func (r *Redis) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	if r.conn != nil {
		_ = r.conn.Close()
		r.conn = nil
	}
}

// Start starts it, again after Kill, with all that it has acknowledged.
func (r *Redis) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd = exec.CommandContext(context.Background(), "redis-server", "--port", "0", "--unixsocket", r.Socket(), "--dir", r.dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--logfile", filepath.Join(r.dir, "log"))
	if err := startChild(r.cmd); err != nil {
		return err
	}
	for range 1200 {
		c, err := DialRedis(r.Socket())
		if err == nil {
			if _, err = c.Do("PING"); err == nil {
				r.conn = c
				return nil
			}
			_ = c.Close()
		}
		time.Sleep(25 * time.Millisecond)
	}
	return errors.New("redis answers nothing")
}

// Do sends a command over the connection of this test. It fails while Redis is killed.
func (r *Redis) Do(command ...string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		return "", net.ErrClosed
	}
	return r.conn.Do(command...)
}

// RedisConn is a connection to a Redis.
type RedisConn struct {
	net.Conn
	answers *bufio.Reader
}

// DialRedis connects to the Redis at a socket.
func DialRedis(socket string) (*RedisConn, error) {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "unix", socket)
	if err != nil {
		return nil, err
	}
	return &RedisConn{c, bufio.NewReader(c)}, nil
}

// Do sends a command and returns its answer, within two seconds. Nothing is "", as it is for
// a SET NX that wasn't done. (RESP, Redis' protocol.)
func (c *RedisConn) Do(command ...string) (string, error) {
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(c, text.String()); err != nil {
		return "", err
	}
	line, err := c.answers.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimRight(line[1:], "\r\n")
	switch kind {
	case '+', ':':
		return rest, nil
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "", err
		}
		value := make([]byte, n+2)
		_, err = io.ReadFull(c.answers, value)
		return string(value[:n]), err
	default:
		return "", fmt.Errorf("redis: %s", rest)
	}
}
