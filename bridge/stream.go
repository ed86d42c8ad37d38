package bridge

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/authferry/authferry/broker"
)

const (
	afterwards  = 2 * time.Second // a server has to end a stream whose answer has come
	firstPause  = time.Second     // before a stream is gone on with, where the server says none
	longPause   = time.Minute
	longestWish = time.Hour // the longest pause that a server may ask for
	maxFailures = 5         // to go on with a stream, in a row
)

// cursor is how far a stream was read.
type cursor struct {
	last  string        // event id
	pause time.Duration // before it is gone on with
	some  bool          // an event has come since the stream was opened
}

// follow gives a stream on until all was answered. One of the first era that breaks off
// is gone on with, if the server has named its events.
func (b *Bridge) follow(ctx context.Context, c *call, res *http.Response) error {
	at := cursor{pause: firstPause}
	for failures := 0; ; {
		ended, err := b.read(c, res, &at)
		_ = res.Body.Close()
		switch {
		case b.done(c):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case at.last == "" || c.version != "":
			return b.broken(ended)
		}
		if at.some {
			failures = 0
		}
		for {
			if failures++; failures > maxFailures {
				return b.broken(ended)
			}
			if err := wait(ctx, at.pause); err != nil {
				return err
			}
			if b.done(c) {
				return nil
			}
			if res, err = b.get(ctx, at.last); err == nil && isStream(res) {
				break
			}
			if err == nil {
				_ = res.Body.Close()
				return b.broken(ended)
			}
		}
	}
}

func isStream(res *http.Response) bool {
	return res.StatusCode == http.StatusOK && mediaType(res) == eventStream
}

// read gives on what a stream has: ended says how it ended, err what the client gets to
// hear of instead of an answer.
func (b *Bridge) read(c *call, res *http.Response, at *cursor) (ended, err error) {
	at.some = false
	for e := newEvents(res.Body); ; {
		ev, err := e.next()
		switch {
		case errors.Is(err, errTooLong):
			return nil, b.tooLong()
		case err != nil:
			return err, nil
		}
		at.some = true
		if ev.id != "" {
			at.last = ev.id
		}
		if ev.retry >= 0 {
			at.pause = min(ev.retry, longestWish)
		}
		if len(ev.data) == 0 || ev.name != "" && ev.name != "message" {
			continue
		}
		if err := b.deliver(c, ev.data, res.Header); err != nil {
			if _, own := errors.AsType[*serverError](err); own {
				return nil, err
			}
			continue // what is no message is left out
		}
		if c.end != nil && c.asks > 0 && b.done(c) {
			time.AfterFunc(afterwards, c.end)
		}
	}
}

// get opens a stream, or goes on with one behind the event last.
func (b *Bridge) get(ctx context.Context, last string) (*http.Response, error) {
	return b.send(ctx, false, func(tok *broker.Token) (*http.Request, *session, error) {
		req, err := b.request(ctx, http.MethodGet, nil, tok)
		if err != nil {
			return nil, nil, err
		}
		req.Header.Set("Accept", eventStream)
		if last != "" {
			req.Header.Set("Last-Event-Id", last)
		}
		if s := b.current(); s != nil {
			s.name(req.Header)
		}
		return req, nil, nil
	})
}

// listen gives on what the server sends unasked, if it wants to, for as long as the
// session lives.
func (b *Bridge) listen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session == nil || b.session.listening {
		return
	}
	b.session.listening = true
	go b.attend(b.session.life)
}

func (b *Bridge) attend(ctx context.Context) {
	nobody := &call{}
	at := cursor{}
	for pause := firstPause; ; {
		at.pause = 0
		res, err := b.get(ctx, at.last)
		if err == nil {
			if !isStream(res) && res.StatusCode < 500 && res.StatusCode != http.StatusTooManyRequests {
				_ = res.Body.Close()
				return // it has none, or ended the session
			}
			if isStream(res) {
				_, err = b.read(nobody, res, &at)
			}
			_ = res.Body.Close()
		}
		if err != nil {
			b.opt.Log.Info("the server's own stream", "error", err)
		}
		if ctx.Err() != nil {
			return
		}
		if at.some {
			pause = firstPause
		}
		if wait(ctx, max(pause, at.pause)) != nil {
			return
		}
		pause = min(2*pause, longPause)
	}
}
