package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

const (
	ours  = "authferry token"
	bare  = "bare go-keyring Get"
	idle  = "authferry's imports, idle"
	hello = "Go hello"
)

func (b *bench) token(name string, args ...string) row {
	return b.program(name, "", append([]string{b.path("authferry"), "token"}, args...)...)
}

func (b *bench) other(name, program string) row { return b.program(name, "", b.path(program)) }

// hit measures the hot path, a valid token out of the keyring, beside other
// programs that read a secret of the same size.
func (b *bench) hit() (*table, error) {
	t := &table{text: "Every program reads one secret of the same size."}
	t.add(b.token(ours, "--account", "bench"), b.other(bare, "bare"))
	t.add(b.program("secret-tool lookup", secret, "secret-tool", "lookup", "service", "authferry-bench", "username", "item"))
	t.add(b.other(idle, "idle"), b.other(hello, "hello"))
	for i := range t.rows {
		t.rows[i].of = bare
	}
	if err := b.alternate(t, 300, 30*time.Second); err != nil {
		return nil, err
	}
	t.goal("a stored token, of a bare Get", "≤", 0.85, "×", t.ratio(ours, bare, wall))
	t.goal("its CPU time, of a bare Get's", "≤", 0.85, "×", t.ratio(ours, bare, cpu))
	t.goal("its page faults, of a bare Get's", "≤", 1, "×", t.ratio(ours, bare, faults))
	of := 0.45 // where pages are cheap; secret-tool touches fewer of them
	if quantile(t.row(hello).runs, 0.5, wall) > 2 {
		of = 0.65
	}
	t.goal("a stored token, of secret-tool", "≤", of, "×", t.ratio(ours, "secret-tool lookup", wall))
	t.goal("p95 of its own median, of a bare Get's", "≤", 1, "×", t.estimate(func(q quantiles) float64 {
		return q(ours, 0.95, wall) / q(ours, 0.5, wall) / (q(bare, 0.95, wall) / q(bare, 0.5, wall))
	}))
	var peak float64
	out, err := exec.CommandContext(ctx, b.path("peak"), b.path("authferry"), "token", "--account", "bench").Output()
	if err != nil {
		return nil, fmt.Errorf("its peak memory: %w", err)
	}
	if _, err := fmt.Sscan(string(out), &peak); err != nil {
		return nil, err
	}
	size, err := os.Stat(b.path("authferry-stripped"))
	if err != nil {
		return nil, err
	}
	const mega = 1 << 20
	t.goal("peak memory", "≤", 20, "MB", exactly(peak/mega))
	t.goal("program, stripped", "≤", 15, "MB", exactly(float64(size.Size())/mega))
	return t, nil
}

// commands measures what a person's prompt may run before each line.
func (b *bench) commands() (*table, error) {
	t := &table{text: "None of these touches keychain or network."}
	for _, command := range []string{"status", "status --json", "list", "list --json", "version"} {
		args := append([]string{b.path("authferry")}, strings.Fields(command)...)
		t.add(b.program("authferry "+command, "", args...).against(idle))
	}
	t.add(b.other(idle, "idle"), b.other(hello, "hello").against(idle))
	if err := b.alternate(t, 150, 12*time.Second); err != nil {
		return nil, err
	}
	t.goal("status, of the same imports idle", "≤", 1.2, "×", t.ratio("authferry status", idle, wall))
	return t, nil
}

// file measures a token out of the file keystore.
func (b *bench) file() (*table, error) {
	sealed := []string{"AUTHFERRY_DIR=" + b.path("sealed"), "AUTHFERRY_KEYSTORE=file"}
	if _, err := b.authferry(sealed, "", "keystore", "init", "--key-file", b.path("sealed.key")); err != nil {
		return nil, err
	}
	if err := errors.Join(b.addProvider(sealed), b.addAccount(sealed, "sealed", time.Hour)); err != nil {
		return nil, err
	}
	t := &table{text: "No daemon to ask, but a key exchange to compute."}
	const keychain = "authferry token, keychain"
	args := append(append([]string{"env"}, sealed...), b.path("authferry"), "token")
	t.add(b.program("authferry token, file keystore", "", args...).against(keychain), b.token(keychain, "--account", "bench"))
	t.add(b.other(idle, "idle").against(keychain))
	if err := b.alternate(t, 150, 8*time.Second); err != nil {
		return nil, err
	}
	t.goal("the file keystore, of the keychain", "≤", 0.5, "×", t.ratio("authferry token, file keystore", keychain, wall))
	return t, nil
}

// next measures what a refused request costs: one report that holds the account,
// moves its pool on and hands out the next token, against a plain token. Both
// accounts are freed before each report, which is not measured.
func (b *bench) next() (*table, error) {
	labels := [2]string{"first", "second"}
	for _, label := range labels {
		if err := b.addAccount(nil, label, time.Hour); err != nil {
			return nil, err
		}
		if _, err := b.authferry(nil, "", "move", label, "--pool", "failover"); err != nil {
			return nil, err
		}
	}
	calls := 0
	report := func() (run, error) {
		calls++
		for _, args := range [][]string{{"holds", "clear", labels[0]}, {"holds", "clear", labels[1]}, {"use", labels[calls%2]}} {
			if _, err := b.authferry(nil, "", args...); err != nil {
				return run{}, err
			}
		}
		out, err := b.authferry(nil, "", "token", "--pool", "failover", "--json")
		var doc struct {
			Lease string `json:"lease"`
		}
		if err := errors.Join(err, json.Unmarshal(out, &doc)); err != nil {
			return run{}, err
		}
		cmd := exec.CommandContext(ctx, b.path("authferry"), "report", "--next")
		cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"lease":%q,"status":429,"headers":{"retry-after":"3600"},"body":"limited"}`, doc.Lease))
		var said strings.Builder
		cmd.Stdout = &said
		r, err := once(cmd)
		if err == nil && !strings.Contains(said.String(), `"action":"switch"`) {
			err = errors.New("the report moved nothing on")
		}
		return r, err
	}
	t := &table{text: "A 429, reported: the account is held, its pool moves on, the next token is printed, all in one call."}
	t.add(b.token(ours, "--account", "bench", "--json"), row{name: "authferry report --next", of: ours, sample: report})
	if err := b.alternate(t, 100, 15*time.Second); err != nil {
		return nil, err
	}
	t.goal("report --next, of a token", "≤", 1.2, "×", t.ratio("authferry report --next", ours, wall))
	return t, nil
}

// headers measures what Claude Code and Codex run for a remote MCP server, against a
// plain token, out of one folder.
func (b *bench) headers() (*table, error) {
	const secret = "bench-secret"
	server, err := brokertest.Start(brokertest.Config{ClientSecret: secret, AccessTTL: 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	env := []string{"AUTHFERRY_DIR=" + b.path("remote")}
	address := server.URL + "/mcp"
	if _, err := b.authferry(env, secret+"\n", "login", address, "--name", "docs", "--flow", "client", "--client-id", "authferry-sim", "--client-secret-stdin", "--label", "bench"); err != nil {
		return nil, err
	}
	t := &table{text: "A stored token, as JSON of headers and plain."}
	const asked, plain = "authferry helper mcp-headers", "authferry token, of that server"
	program := append(append([]string{"env"}, env...), b.path("authferry"))
	t.add(b.program(asked, "", append(program, "helper", "mcp-headers", "--account", "bench", address)...).against(plain))
	t.add(b.program(plain, "", append(program, "token", "--account", "bench")...))
	if err := b.alternate(t, 300, 12*time.Second); err != nil {
		return nil, err
	}
	t.goal("helper mcp-headers, of a token", "≤", 1.1, "×", t.ratio(asked, plain, wall))
	return t, nil
}
