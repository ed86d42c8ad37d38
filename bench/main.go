// Command bench measures authferry beside other programs, on a bus, a gnome-keyring
// and a HOME of its own; nothing of yours is touched. scripts/bench runs it.
//
// What is measured is a table of rows. A row is run many times, in turn with the
// other rows of its table, so that whatever else the machine does hits all alike; what
// is compared is medians, and each comparison has the interval that the true one is
// in, 19 times of 20.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// ctx ends nothing: whoever measures waits for the end or presses Ctrl-C.
var ctx = context.Background()

// parts are what can be measured, in this order: what fills the keyring or the
// index is last.
var parts = []struct {
	name, title string
	run         func(*bench) (*table, error)
}{
	{"hit", "A stored token", (*bench).hit},
	{"commands", "Status and list", (*bench).commands},
	{"file", "The file keystore", (*bench).file},
	{"next", "A refused request", (*bench).next},
	{"slow", "During somebody else's slow refresh", (*bench).slow},
	{"mcp-headers", "The headers of a remote MCP server", (*bench).headers},
	{"parallel", "Many at once", (*bench).parallel},
	{"expiry", "Many at the moment of expiry", (*bench).expiry},
	{"failing", "A token endpoint that fails", (*bench).failing},
	{"proxy", "A request through the proxy", (*bench).proxy},
	{"streams", "Many streams through the proxy", (*bench).streams},
	{"start", "A command under authferry run", (*bench).start},
	{"bridge", "A call over the MCP bridge", (*bench).bridge},
	{"shared", "An account of several machines", (*bench).shared},
	{"accounts", "Many accounts", (*bench).accounts},
	{"keyring", "A full keyring", (*bench).keyring},
}

func main() {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	only := flag.String("only", "", "measure only these parts, with commas between: "+strings.Join(names, ","))
	quick := flag.Bool("quick", false, "a tenth of the runs, for a first look; written nowhere")
	write := flag.Bool("write", false, "put what was measured into ../docs/performance.md and history.csv")
	flag.Parse()
	wanted := names
	if *only != "" {
		wanted = strings.Split(*only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			fmt.Fprintf(os.Stderr, "bench: there is no part %q; there are: %s\n", name, strings.Join(names, ","))
			os.Exit(1)
		}
	}
	run := privately // runs this program again
	if os.Getenv(private) != "" {
		run = func() error { return measure(wanted, *quick, *write && !*quick) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// tooNoisy is how far from its own time the same program may seem to be.
const tooNoisy = 0.05

func measure(wanted []string, quick, write bool) error {
	b, err := prepare(quick)
	if err != nil {
		return err
	}
	defer b.server.Close()
	where := machine()
	fmt.Println(where)
	noise, failed := b.noise()
	var all []*table
	for _, p := range parts {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		begun := time.Now()
		t, err := p.run(b)
		fmt.Fprintf(os.Stderr, "bench: %s took %v\n", p.name, time.Since(begun).Round(time.Second))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
			continue
		}
		t.name, t.title = p.name, p.title
		fmt.Printf("\n## %s (%s)\n\n%s", t.title, t.name, t.markdown())
		all = append(all, t)
	}
	afterwards, err := b.noise()
	failed = errors.Join(failed, err)
	noise = max(noise, afterwards)
	fmt.Printf("\n## Goals\n\n%s\nThe same program took up to %.0f %% more or less than itself.\n", goals(all), 100*noise)
	if noise > tooNoisy {
		return errors.Join(failed, errors.New("this machine is too noisy to judge by, and nothing was written; again when it is quiet: scripts/bench"))
	}
	if write {
		failed = errors.Join(failed, history("history.csv", where, all), document("../docs/performance.md", where, all, len(all) == len(parts)))
	}
	return failed
}

// noise is how far from its own time the same program may seem to be here and now.
func (b *bench) noise() (float64, error) {
	var t table
	t.add(b.program("one", "", b.path("hello")), b.program("other", "", b.path("hello")))
	if err := b.alternate(&t, 300, 3*time.Second); err != nil {
		return 0, err
	}
	same := t.ratio("one", "other", wall)
	return max(same.high-1, 1-same.low), nil
}
