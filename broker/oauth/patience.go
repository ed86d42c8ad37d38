package oauth

import (
	"context"
	"sync"
	"time"
)

// patience is a context that ends once this process has waited for that long. Time in which
// the process was stopped (SIGSTOP, a paused container, a suspended machine) doesn't count,
// and after a stop it always continues for a moment: the answer may have come meanwhile,
// and is in the socket. A timer would end the request at once and lose its tokens.
type patience struct {
	context.Context
	done chan struct{}

	mu  sync.Mutex
	err error
}

const (
	longestBeat = time.Second      // between two looks at the clock
	reprieve    = 10 * time.Second // of waiting after a stop, at least
)

// WithPatience returns a context that ends with DeadlineExceeded after d of waiting, or
// when ctx ends. Its deadline is that of ctx.
func WithPatience(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	p := &patience{Context: ctx, done: make(chan struct{})}
	if err := ctx.Err(); err != nil {
		p.end(err)
	} else {
		go p.run(d)
	}
	return p, func() { p.end(context.Canceled) }
}

func (p *patience) Done() <-chan struct{} { return p.done }

func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *patience) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.done)
	}
}

func (p *patience) run(d time.Duration) {
	beat := min(max(d/4, longestBeat/10), longestBeat)
	for left := d; left > 0; {
		began, step := time.Now(), min(beat, left)
		timer := time.NewTimer(step)
		select {
		case <-timer.C:
		case <-p.done:
			timer.Stop()
			return
		case <-p.Context.Done():
			timer.Stop()
			p.end(p.Context.Err())
			return
		}
		left -= step
		if late := time.Since(began) - step; late > beat/2 {
			left = max(left, min(d, reprieve))
		}
	}
	p.end(context.DeadlineExceeded)
}
