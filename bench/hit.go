package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

func (b *bench) token(args ...string) program {
	return program{name: "authferry token", args: append([]string{b.path("authferry"), "token"}, args...)}
}

func (b *bench) bare() program {
	return program{name: "bare go-keyring Get", args: []string{b.path("bare")}}
}

// writes is what a rotation asks of the keychain, and nothing else.
func (b *bench) writes() program {
	return program{name: "bare go-keyring, as in a rotation", args: []string{b.path("writes")}}
}

func (b *bench) hello() program { return program{name: "Go hello", args: []string{b.path("hello")}} }

func (b *bench) idle() program {
	return program{name: "authferry's imports, idle", args: []string{b.path("idle")}}
}

// hit measures the hot path, a valid token out of the keyring, beside other
// programs that read a secret of the same size.
func (b *bench) hit() (result, error) {
	peers, err := b.peers()
	if err != nil {
		return result{}, err
	}
	token := b.token("--account", "bench")
	programs := append([]program{token, b.bare()}, peers...)
	programs = append(programs, b.idle(), b.hello())
	runs, err := alternate(b.rounds(300), programs)
	if err != nil {
		return result{}, err
	}
	r := result{
		text:   "Every program reads one secret of the same size, in turn.",
		header: []string{"program", "median ms", "p95 ms", "p95 of median", "CPU ms", "peak MB", "page faults", "authferry is"},
	}
	mine := median(runs[0], wall)
	for i, p := range programs {
		m := median(runs[i], wall)
		peak, err := b.peak(p)
		if err != nil {
			return r, err
		}
		if i == 0 {
			r.atMost("peak memory", 20, megabytes(peak), "MB")
		}
		r.add(p.name, f1(ms(m)), f1(ms(quantile(runs[i], 0.95, wall))), f2(tail(runs[i]))+" ×", f1(ms(median(runs[i], cpu))),
			f1(megabytes(peak)), fmt.Sprint(median(runs[i], faults)), f2(ratio(mine, m))+" ×")
		r.bars = append(r.bars, bar{p.name, ms(m), ms(quantile(runs[i], 0.95, wall)), i == 0})
	}
	r.unit = "ms, median and p95"
	bare, hello := runs[1], runs[len(runs)-1]
	r.atMost("a stored token, of a bare Get", 1.1, ratio(mine, median(bare, wall)), "×").beside =
		f2(ratio(median(runs[0], cpu), median(bare, cpu))) + " × its CPU time"
	r.atMost("p95 of its own median", 1.5, tail(runs[0]), "×").beside =
		fmt.Sprintf("a bare Get %.2f ×, Go hello %.2f ×", tail(bare), tail(hello))
	size, err := os.Stat(b.path("authferry-stripped"))
	if err != nil {
		return r, err
	}
	r.atMost("program, stripped", 14, megabytes(size.Size()), "MB")
	return r, nil
}

// tail is how much longer than the median the slow runs take.
func tail(runs []run) float64 {
	return ratio(quantile(runs, 0.95, wall), median(runs, wall))
}

// secret is as long as an access record.
var secret = strings.Repeat("x", 600)

// storeBare stores the secret that the bare Get reads.
func storeBare() error {
	return store(secret, "secret-tool", "store", "--label=bench", "service", "authferry-bench", "username", "item")
}

// peers stores the secret for each of the other programs that are here.
func (b *bench) peers() ([]program, error) {
	programs := []program{{name: "secret-tool lookup", args: []string{"secret-tool", "lookup", "service", "authferry-bench", "username", "item"}, want: secret}}
	const place = "https://bench.example"
	if err := store(`{"ServerURL":"`+place+`","Username":"me","Secret":"`+secret+`"}`, b.path(docker), "store"); err == nil {
		programs = append(programs, program{name: docker + " get", args: []string{b.path(docker), "get"}, stdin: place, want: secret})
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	const ask = "protocol=https\nhost=bench.example\nusername=me\n"
	if err := store(ask+"password="+secret+"\n", b.path(git), "store"); err == nil {
		programs = append(programs, program{name: git + " get", args: []string{b.path(git), "get"}, stdin: ask, want: secret})
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return programs, nil
}

// store runs a program that reads a secret from stdin.
func store(stdin string, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", command[0], err, said.Bytes())
	}
	return nil
}

// commands measures what a person's prompt may run before each line.
func (b *bench) commands() (result, error) {
	var programs []program
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"list"}, {"list", "--json"}, {"version"}} {
		programs = append(programs, program{name: "authferry " + strings.Join(args, " "), args: append([]string{b.path("authferry")}, args...)})
	}
	programs = append(programs, b.idle(), b.hello())
	runs, err := alternate(b.rounds(150), programs)
	if err != nil {
		return result{}, err
	}
	r := result{text: "Neither touches keychain or network.", header: []string{"program", "median ms", "p95 ms", "CPU ms", "of idle"}}
	idle := median(runs[len(runs)-2], wall)
	for i, p := range programs {
		m := median(runs[i], wall)
		r.add(p.name, f1(ms(m)), f1(ms(quantile(runs[i], 0.95, wall))), f1(ms(median(runs[i], cpu))), f2(ratio(m, idle))+" ×")
	}
	r.atMost("status, of the same imports idle", 1.5, ratio(median(runs[0], wall), idle), "×")
	return r, nil
}

// file measures a token out of the file keystore.
func (b *bench) file() (result, error) {
	env := []string{"AUTHFERRY_DIR=" + b.path("sealed"), "AUTHFERRY_KEYSTORE=file"}
	if _, err := b.authferryIn(env, "", "keystore", "init", "--key-file", b.path("sealed.key")); err != nil {
		return result{}, err
	}
	if err := b.addProvider(env); err != nil {
		return result{}, err
	}
	if err := b.addAccount(env, "sealed", 3600); err != nil {
		return result{}, err
	}
	sealed := b.token()
	sealed.name, sealed.env = "authferry token, file keystore", env
	open := b.token("--account", "bench")
	open.name = "authferry token, keychain"
	programs := []program{sealed, open, b.idle()}
	runs, err := alternate(b.rounds(150), programs)
	if err != nil {
		return result{}, err
	}
	r := result{text: "No daemon to ask, but a key exchange to compute.", header: []string{"program", "median ms", "p95 ms", "CPU ms"}}
	for i, p := range programs {
		r.add(p.name, f1(ms(median(runs[i], wall))), f1(ms(quantile(runs[i], 0.95, wall))), f1(ms(median(runs[i], cpu))))
	}
	return r, nil
}
