package brokertest

import (
	"sync"
	"testing"
	"time"
)

// What each kind of server says when a refresh token is used for the second
// time: at once, after the grace, and what that does to the newest tokens.
func TestRotations(t *testing.T) {
	type life struct {
		retry       int // status of an immediate second use
		samePair    bool
		late        int // status of a second use after the grace
		newestLives bool
		firstAccess bool // the access token from before the refresh still works
	}
	want := map[Rotation]life{
		Fixed:         {200, false, 200, true, true},
		Rotate:        {400, false, 400, true, true},
		Strict:        {400, false, 400, false, true},
		GraceSame:     {200, true, 400, false, true},
		GraceNew:      {200, false, 400, false, true},
		GracePrevious: {200, false, 400, false, true},
		KillsAccess:   {400, false, 400, true, false},
		KeepsOld:      {200, false, 200, true, true},
		OmitRefresh:   {200, false, 200, true, true},
		BlankRefresh:  {200, false, 200, true, true},
	}
	for _, kind := range Rotations() {
		t.Run(string(kind), func(t *testing.T) {
			w := want[kind]
			s := New(t, Config{Rotation: kind, Grace: 30 * time.Second})
			g := s.Issue(ada)
			first := refresh(t, s, g.RefreshToken)
			expect(t, "first use", first, 200)
			switch newest := first.text("refresh_token"); kind {
			case Fixed:
				if newest != g.RefreshToken {
					t.Error("another refresh token")
				}
			case OmitRefresh, BlankRefresh:
				if newest != "" {
					t.Error("a refresh token is named")
				}
			default:
				if newest == g.RefreshToken || newest == "" {
					t.Error("no new refresh token")
				}
			}
			if alive := get(t, s, "/api/x", g.AccessToken).status == 200; alive != w.firstAccess {
				t.Errorf("the first access token works: %v", alive)
			}
			retry := refresh(t, s, g.RefreshToken)
			expect(t, "second use", retry, w.retry)
			if same := retry.status == 200 && retry.text("access_token") == first.text("access_token"); same != w.samePair {
				t.Errorf("the same pair again: %v", same)
			}
			s.Advance(31 * time.Second)
			expect(t, "late second use", refresh(t, s, g.RefreshToken), w.late)
			newest := first.text("refresh_token")
			if newest == "" {
				newest = g.RefreshToken
			}
			if lives := refresh(t, s, newest).status == 200; lives != w.newestLives {
				t.Errorf("the newest refresh token works: %v", lives)
			}
			if lives := get(t, s, "/api/x", first.text("access_token")).status == 200; lives != (w.newestLives && w.firstAccess) {
				t.Errorf("the newer access token works: %v", lives)
			}
			rotates := rules[kind].spends
			if n := s.Reuse(); rotates != (n > 0) {
				t.Errorf("%d reuses", n)
			}
			if lost := s.Ledger().Revoked() == 1; lost == w.newestLives {
				t.Errorf("the login was revoked: %v", lost)
			}
		})
	}
}

// A server of this kind forgives the previous refresh token alone: the one
// before it ends the login, even within the grace.
func TestGracePreviousKillsOlder(t *testing.T) {
	s := New(t, Config{Rotation: GracePrevious})
	g := s.Issue(ada)
	second := refresh(t, s, g.RefreshToken)
	third := refresh(t, s, second.text("refresh_token"))
	expect(t, "previous", refresh(t, s, second.text("refresh_token")), 200)
	expect(t, "older", refresh(t, s, g.RefreshToken), 400)
	expect(t, "newest", refresh(t, s, third.text("refresh_token")), 400)
}

// Four clients that refresh with one token at once: one wins, and the win is
// worth nothing, because the others' reuse revokes the login.
func TestConcurrentRefreshesKillAStrictFamily(t *testing.T) {
	s := New(t, Config{Latency: 20 * time.Millisecond})
	g, other := s.Issue(ada), s.Issue(bob)
	answers := make([]got, 4)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = refresh(t, s, g.RefreshToken) })
	}
	all.Wait()
	var won []got
	for _, a := range answers {
		if a.status == 200 {
			won = append(won, a)
		} else if a.text("error") != "invalid_grant" {
			t.Errorf("a loser got %d %q", a.status, a.text("error"))
		}
	}
	if len(won) != 1 {
		t.Fatalf("%d winners", len(won))
	}
	expect(t, "the winner's next refresh", refresh(t, s, won[0].text("refresh_token")), 400)
	expect(t, "the winner's access token", get(t, s, "/api/x", won[0].text("access_token")), 401)
	expect(t, "another user", refresh(t, s, other.RefreshToken), 200)
	l := s.Ledger()
	if len(l.Reuse) != 3 || l.Revoked() != 1 || l.Families[0].Why == "" {
		t.Errorf("ledger: %d reuses, %d revoked", len(l.Reuse), l.Revoked())
	}
	if sends := l.Families[0].RefreshTokens[0].Sends; len(sends) != 4 || l.MostSends() != 4 {
		t.Errorf("%d sends of the first token", len(sends))
	}
	if l.MaxInflight[ada] < 2 || l.MaxInflight[bob] != 1 {
		t.Errorf("at most in flight: %v", l.MaxInflight)
	}
}

func TestLifetimes(t *testing.T) {
	s := New(t, Config{AccessTTL: time.Minute, RefreshTTL: time.Hour})
	g := s.Issue(ada)
	if g.ExpiresIn != 60 {
		t.Errorf("expires_in %d", g.ExpiresIn)
	}
	expect(t, "young", get(t, s, "/userinfo", g.AccessToken), 200)
	if kept := refresh(t, s, s.Issue(bob).RefreshToken).json["refresh_token_expires_in"]; kept != 3600.0 {
		t.Errorf("refresh_token_expires_in %v", kept)
	}
	s.Advance(61 * time.Second)
	expect(t, "old", get(t, s, "/userinfo", g.AccessToken), 401)
	s.Advance(time.Hour)
	expect(t, "refresh token over its time", refresh(t, s, g.RefreshToken), 400)
	if l := s.Ledger(); l.Revoked() != 0 || len(l.Reuse) != 0 || l.Families[0].RefreshTokens[0].Sends[0].Outcome != Refused {
		t.Errorf("an expiry is neither reuse nor revocation: %+v", l.Families)
	}
}

func TestRevokedByTheUser(t *testing.T) {
	s := New(t, Config{})
	g := s.Issue(ada)
	s.Revoke(ada)
	expect(t, "access token", get(t, s, "/api/x", g.AccessToken), 401)
	expect(t, "refresh token", refresh(t, s, g.RefreshToken), 400)
}
