package serve

import (
	"sync"
	"time"

	"github.com/authferry/authferry/broker"
)

// maxSessions is more than anybody has in progress.
const maxSessions = 4096

// sessions remember which account answered each conversation last, for each scope.
type sessions struct {
	mu sync.Mutex
	by map[string]stay
}

type stay struct {
	account, current string // as in TokenRequest
	at               time.Time
}

func (s *sessions) key(c *call) string { return c.provider + "\x00" + c.scope + "\x00" + c.session }

// of is the account that c's conversation is at; empty: none yet.
func (s *sessions) of(c *call) (account, current string) {
	if c.session == "" {
		return "", ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.by[s.key(c)]
	return st.account, st.current
}

func (s *sessions) put(c *call, tok *broker.Token) {
	if c.session == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[string]stay{}
	}
	key := s.key(c)
	if _, known := s.by[key]; !known && len(s.by) >= maxSessions {
		oldest := ""
		for k, st := range s.by {
			if oldest == "" || st.at.Before(s.by[oldest].at) {
				oldest = k
			}
		}
		delete(s.by, oldest)
	}
	s.by[key] = stay{tok.Account.ID, tok.Current, time.Now()}
}

// successes decides which accepted answers are reported. Reports refute guessed holds and
// say how full the quota is, which isn't needed every second. No success is reported after
// a later refusal, whose hold it would end.
type successes struct {
	mu       sync.Mutex
	last     map[string]time.Time // by account and scope
	refusals map[string]int       // by account, so far
	sending  sync.Mutex           // held during a report
	behind   sync.WaitGroup
}

const reportEvery = time.Minute

// tell calls report in the background, unless that was done just now.
func (s *successes) tell(account, scope string, report func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last, s.refusals = map[string]time.Time{}, map[string]int{}
	}
	key, now := account+" "+scope, time.Now()
	if now.Sub(s.last[key]) < reportEvery {
		return
	}
	if len(s.last) >= maxSessions {
		clear(s.last)
	}
	s.last[key] = now
	refusals := s.refusals[account]
	s.behind.Go(func() {
		s.sending.Lock()
		defer s.sending.Unlock()
		s.mu.Lock()
		late := s.refusals[account] != refusals
		s.mu.Unlock()
		if !late {
			report()
		}
	})
}

// refused is called before a refusal is reported. When it returns, no report of an earlier
// success is running. The next success is reported.
func (s *successes) refused(account, scope string) {
	s.mu.Lock()
	if s.refusals == nil {
		s.last, s.refusals = map[string]time.Time{}, map[string]int{}
	}
	s.refusals[account]++
	s.mu.Unlock()
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.last, account+" "+scope)
}

func (s *successes) wait() { s.behind.Wait() }
