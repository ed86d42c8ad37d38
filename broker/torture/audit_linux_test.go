package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
)

// audit holds a round's outcome to the invariants.
func (m *model) audit(struck blow, before []index.Account, steps []*step) {
	for _, b := range m.w.sound() {
		m.broken("%s", b)
	}
	if _, err := os.Lstat(m.w.dir + asideSuffix); err == nil {
		m.broken("the folder was made anew where it was for a while")
	}
	for _, s := range steps {
		r := s.result
		said := strings.Join(s.args, " ") + ": " + strconv.Itoa(r.code) + ": " + strings.TrimSpace(r.err)
		switch {
		case s.touched && r.code == -1, m.rotators && strings.Contains(r.err, "was killed twice"):
		case s.login && struck.ofFolder() && len(m.weather) == 1 && r.code != 0:
			m.broken("I5: a login was lost: %s", said)
		case struck != "" && slices.Contains([]int{3, 6, 7, 8}, r.code): // there was no folder, or somebody had a lock
		case s.args[0] == "provider" && r.code == 80: // it was removed meanwhile
		case s.args[0] == "keystore" && (r.code == 7 || r.code == 80): // somebody was added meanwhile; or it is there already
		case r.code == -1, r.code == 1 && s.args[0] != "doctor", r.code == 2, r.code == 6, r.code == 7, r.code == 80, strings.Contains(r.err, "goroutine "):
			m.broken("I5: not the true cause: %s", said)
		case r.code == 0 && r.out == "" && slices.Contains(serving, s.args[0]):
			m.broken("I5: no token and no cause: %s", said)
		case s.about == bystander && (r.code != 0 || !m.w.good(r.out)):
			m.broken("I10: %s", said)
		case strings.Contains(r.out+r.err, "afrt_"):
			m.broken("I7: a refresh token is in the output of %s", strings.Join(s.args, " "))
		case r.code != 0 && !s.touched && slices.Contains(serving, s.args[0]) && !slices.Contains(s.args, "--rejected") && m.living(s.about, before, steps):
			m.broken("I6: a living token was withheld: %s", said)
		case r.code == 4 && !s.login && !m.loses && !m.gone[s.about]:
			m.broken("I4: %s", said)
		}
	}
	for _, s := range steps {
		if s.moved != "" {
			m.movedWhole(s)
		}
	}
	l := m.w.server.Ledger()
	for user, n := range l.MaxInflight {
		if n > 1 && !m.rotators { // a server does not notice at once that a client is dead
			m.broken("I2: %d refreshes of %s at once", n, user)
		}
	}
	if n := len(l.Reuse) - secondTries(l); n > m.worries {
		m.broken("I1: %d spent refresh tokens were sent, after %d events that may cost a recovery", n, m.worries)
	}
	if l.Elsewhere > 0 {
		m.broken("something went to another host")
	}
	idx, err := m.w.index()
	if err != nil || idx == nil {
		return // sound has said so
	}
	for _, a := range idx.Accounts {
		if a.Generation < m.generations[a.ID] {
			m.broken("I3: %s went from generation %d to %d", a.ID, m.generations[a.ID], a.Generation)
		}
		m.generations[a.ID] = a.Generation
	}
	m.keptSettings(struck, steps)
	if all := m.accounts(); len(all) > 0 {
		m.serves(all[m.r.IntN(len(all))])
	}
}

// movedWhole finishes a takeover, after which the login is here, and nowhere else.
func (m *model) movedWhole(s *step) {
	path := s.args[2]
	outlived(path)
	if r := m.w.run("", s.args...); r.code != 0 && r.failure != "no_account" {
		m.broken("I5: %s again: exit code %d: %s", strings.Join(s.args, " "), r.code, r.err)
	}
	if there, _ := inFile(path, s.moved, false); there {
		m.broken("%s still has the login that was moved", path)
	}
	if all := m.accounts(); !slices.ContainsFunc(all, func(a index.Account) bool {
		return a.Fingerprint == fingerprint(s.moved) || slices.Contains(a.Spent, fingerprint(s.moved))
	}) {
		m.broken("the login that was moved is nowhere")
	}
}

// serving are the commands that hand out a token.
var serving = []string{"token", "exec", "header", "helper"}

// living reports that an account had a token with a long life before the round,
// and that nothing in the round was to keep it from being served.
func (m *model) living(id string, before []index.Account, steps []*step) bool {
	for _, s := range steps {
		if s.about == id && !slices.Contains(serving, s.args[0]) && !slices.Contains([]string{"refresh", "rename", "enable", "info"}, s.args[0]) {
			return false
		}
	}
	return slices.ContainsFunc(before, func(a index.Account) bool {
		return a.ID == id && !a.Disabled && len(a.Holds) == 0 && a.AccessSlot != "" && time.Until(a.ExpiresAt) > 10*time.Minute
	})
}

// serves wants a good token of an account whose holds and back-off are over.
func (m *model) serves(a index.Account) {
	m.change(func(x *index.Account) {
		if x.ID == a.ID {
			x.Holds, x.Disabled, x.RejectedAt = nil, false, time.Time{}
			if x.Failure != nil {
				x.Failure.NextTryAt = time.Now().Add(-time.Second)
			}
		}
	})
	r := m.w.run("", "token", "--account", a.ID, "--json")
	token := ""
	if _, rest, ok := strings.Cut(r.out, `"access_token":"`); ok {
		token, _, _ = strings.Cut(rest, `"`)
	}
	switch {
	case r.code == 0 && m.w.good(token):
	case r.code == 4 && m.loses && (m.gone[a.ID] || m.explained(a)):
		if !m.gone[a.ID] {
			m.gone[a.ID] = true
			m.n.lost++
		}
	case r.code == 0 && m.loses && m.explained(a):
		// The server has ended the login, and with it this token; who reports
		// that learns that a login is needed.
	default:
		m.broken("I5: account %s afterwards: exit code %d: %s", a.ID, r.code, r.err)
	}
}

// explained reports that the account's login was ended because a refresh token
// of it came twice.
func (m *model) explained(a index.Account) bool {
	l := m.w.server.Ledger()
	for _, f := range l.Families {
		if slices.ContainsFunc(f.RefreshTokens, func(t brokertest.RefreshToken) bool { return fingerprint(t.Token) == a.Fingerprint }) {
			return slices.ContainsFunc(l.Reuse, func(r brokertest.Reuse) bool { return r.Family == f.ID })
		}
	}
	return false
}

// fingerprint is that of the index.
func fingerprint(refreshToken string) string {
	sum := sha256.Sum256([]byte("authferry fingerprint\x00" + refreshToken))
	return hex.EncodeToString(sum[:8])
}

// end asks for every account once more, has doctor mend what is left, and removes
// everything.
func (m *model) end() {
	if m.n.violations > m.before { // what follows would say the same
		m.w.server.Close()
		m.w.t.Logf("kept for a look: %s", m.w.home)
		return
	}
	for _, a := range m.accounts() {
		m.serves(a)
		if r := m.w.run("", "refresh", a.ID); r.code != 0 && !m.explained(a) {
			m.broken("I5: the refresh of %s at the end: exit code %d: %s", a.ID, r.code, r.err)
		}
	}
	m.w.settle()
	for _, line := range m.w.mended() {
		if !m.loses || !strings.Contains(line, "login") {
			m.broken("%s", line)
		}
	}
	l := m.w.server.Ledger()
	m.n.rotations += l.Refreshes("")
	m.n.reuses += len(l.Reuse)
	if idx, err := m.w.index(); err == nil && idx != nil {
		for _, a := range idx.Accounts {
			if r := m.w.run("", "remove", a.ID, "--yes"); r.code != 0 {
				m.broken("remove: %s", r.err)
			}
		}
		if m.w.key != "" {
			if items, _ := os.ReadDir(m.w.dir + "/vault"); len(items) > 0 {
				m.broken("%d secrets are left after everything was removed", len(items))
			}
		}
	}
	m.w.server.Close()
	if m.n.violations > m.before {
		m.w.t.Logf("kept for a look: %s", m.w.home)
		return
	}
	_ = os.RemoveAll(m.w.home)
	_ = os.RemoveAll(m.elsewhere)
}

// secondTries counts the spent refresh tokens that were sent because the one that came
// in their place was refused, unspent: that one may have been found in an odd answer, and
// the one before it then has one try. The login was over already.
func secondTries(l brokertest.Ledger) int {
	n := 0
	for _, f := range l.Families {
		for i := 1; i < len(f.RefreshTokens); i++ {
			before, next := f.RefreshTokens[i-1], f.RefreshTokens[i]
			refused := slices.IndexFunc(next.Sends, func(s brokertest.Send) bool { return s.Outcome == brokertest.Refused })
			if refused < 0 || !next.SpentAt.IsZero() {
				continue
			}
			if slices.ContainsFunc(l.Reuse, func(r brokertest.Reuse) bool {
				return r.Family == f.ID && r.Token == before.Token && r.At.After(next.Sends[refused].At)
			}) {
				n++
			}
		}
	}
	return n
}
