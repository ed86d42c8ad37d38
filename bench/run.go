package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// program is something to run.
type program struct {
	name  string
	args  []string
	stdin string
	env   []string
	want  string // must be in the output of a first run; empty: anything
	// each is called before every run, which is not measured, and may change it.
	each func(*program) error
}

func (p program) command() *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	if p.stdin != "" {
		cmd.Stdin = strings.NewReader(p.stdin)
	}
	return cmd
}

// run is one run of a program.
type run struct {
	wall, cpu time.Duration
	faults    int64 // pages that were not there yet
}

func once(p program) (run, error) {
	if p.each != nil {
		if err := p.each(&p); err != nil {
			return run{}, err
		}
	}
	cmd := p.command()
	start := time.Now()
	err := cmd.Run()
	r := run{wall: time.Since(start)}
	if err != nil {
		return r, fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	r.faults = pageFaults(cmd.ProcessState)
	return r, nil
}

// alternate runs the programs in turn, so that whatever else the machine does
// hits them alike. Each round has an order of its own: who comes after whom
// matters to a keychain's daemon.
func alternate(rounds int, programs []program) ([][]run, error) {
	const warm = 5
	for _, p := range programs {
		if p.each != nil {
			if err := p.each(&p); err != nil {
				return nil, err
			}
		}
		cmd := p.command()
		out, err := cmd.Output()
		if err != nil || !bytes.Contains(out, []byte(p.want)) {
			return nil, fmt.Errorf("%s did not print what it was asked for (%w)", p.name, err)
		}
	}
	runs := make([][]run, len(programs))
	for i := range rounds + warm {
		for _, n := range rand.Perm(len(programs)) { // #nosec G404 -- an order, no secret
			r, err := once(programs[n])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", programs[n].name, err)
			}
			if i >= warm {
				runs[n] = append(runs[n], r)
			}
		}
	}
	return runs, nil
}

// peak is the most memory that p had in a few runs, in bytes.
func (b *bench) peak(p program) (most int64, err error) {
	p.args = append([]string{b.path("peak")}, p.args...)
	for range 3 {
		out, err := p.command().Output()
		if err != nil {
			return 0, fmt.Errorf("the peak memory of %s: %w", p.name, err)
		}
		var bytes int64
		if _, err := fmt.Sscan(string(out), &bytes); err != nil {
			return 0, err
		}
		most = max(most, bytes)
	}
	return most, nil
}

func wall(r run) time.Duration { return r.wall }
func cpu(r run) time.Duration  { return r.cpu }
func faults(r run) int64       { return r.faults }

// quantile is the least value that the share q of the runs does not exceed.
func quantile[T ~int64](runs []run, q float64, of func(run) T) T {
	values := make([]T, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}

func median[T ~int64](runs []run, of func(run) T) T { return quantile(runs, 0.5, of) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func ratio[T ~int64](x, y T) float64 { return float64(x) / float64(y) }

func megabytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
