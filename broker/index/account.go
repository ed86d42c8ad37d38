package index

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/rawtext"
)

const idPrefix = "acc_"

// NewID returns a new account id: "acc_" and 80 random bits in 16 lower-case
// base32 characters.
func NewID() string { return idPrefix + randomName() }

// NewStoreID returns a new store id: 80 random bits in 16 lower-case base32
// characters.
func NewStoreID() string { return randomName() }

// ValidID reports whether s has the form of an account id. Such a string is
// safe in a file name and in the name of a keystore item.
func ValidID(s string) bool {
	return validID(s, idPrefix)
}

const base32 = "abcdefghijklmnopqrstuvwxyz234567"

// randomName is uniform: 32 characters divide the 256 values of a byte evenly.
func randomName() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = base32[b[i]%byte(len(base32))]
	}
	return string(b[:])
}

func isRandomName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(s) == 16
}

// Account returns the account with this id, which may be changed in place; nil if there is
// none.
func (ix *Index) Account(id string) *Account {
	for i := range ix.Accounts {
		if ix.Accounts[i].ID == id {
			return &ix.Accounts[i]
		}
	}
	return nil
}

// Labelled returns the accounts with this label, ignoring case, of one provider or (if
// provider is empty) of all. Accounts that are being removed have no label any more. Within
// a provider labels are unique, unless a person has edited the file.
func (ix *Index) Labelled(provider, label string) []*Account {
	var found []*Account
	for i := range ix.Accounts {
		a := &ix.Accounts[i]
		if !a.Removing && (provider == "" || a.Provider == provider) && EqualLabel(a.Label, label) {
			found = append(found, a)
		}
	}
	return found
}

// Members returns the accounts of a pool by rank, without those that are being removed. Of
// two with the same rank, the one that was added first comes first.
func (ix *Index) Members(pool string) []*Account {
	var members []*Account
	for i := range ix.Accounts {
		if a := &ix.Accounts[i]; a.Pool == pool && !a.Removing {
			members = append(members, a)
		}
	}
	slices.SortStableFunc(members, func(a, b *Account) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), a.AddedAt.Compare(b.AddedAt), cmp.Compare(a.ID, b.ID))
	})
	return members
}

// Record names one of the two records that an account has in the keystore.
type Record string

// The records of an account.
const (
	GrantRecord  Record = "grant"
	AccessRecord Record = "access"
)

const ring = "abcd"

// FreeSlot returns the slot for the next record of this kind: the first after the current
// one, in ring order, that neither the index nor an unresolved intent names. Intents count
// for both kinds, because a killed rotator may have been writing both records. If no slot
// is left, it is the one of the oldest intent that is not the current one.
func FreeSlot(a Account, kind Record) string {
	current := a.GrantSlot
	if kind == AccessRecord {
		current = a.AccessSlot
	}
	start := 0
	if validSlot(current) {
		start = int(current[0]-ring[0]) + 1
	}
	var oldest *Intent
	for i := range len(ring) {
		slot := ring[(start+i)%len(ring):][:1]
		if slot == current {
			continue
		}
		n := slices.IndexFunc(a.Intents, func(in Intent) bool { return in.Slot == slot })
		if n < 0 {
			return slot
		}
		if in := newest(a.Intents[n:], slot); oldest == nil || in.StartedAt.Before(oldest.StartedAt) {
			oldest = in
		}
	}
	return oldest.Slot
}

// newest returns the intent of a slot that started last: a slot is as old as the latest
// write to it that may still be running.
func newest(intents []Intent, slot string) *Intent {
	var last *Intent
	for i := range intents {
		if in := &intents[i]; in.Slot == slot && (last == nil || in.StartedAt.After(last.StartedAt)) {
			last = in
		}
	}
	return last
}

func validSlot(s string) bool { return len(s) == 1 && s[0] >= 'a' && s[0] <= 'd' }

// UnderWay returns the intent of another process that is waiting for its answer or storing
// it; nil: there is none.
func (a *Account) UnderWay() *Intent {
	for i := range a.Intents {
		if in := &a.Intents[i]; lock.Alive(in.PID, in.Process) {
			return in
		}
	}
	return nil
}

// The kinds of account.
const (
	KindOAuth  = "oauth"
	KindAPIKey = "api-key"
	KindClient = "client" // a client on its own account, with no person behind it
)

const maxLabel = 64 // runes

// CheckLabel returns s in the form in which it is stored (NFC, no white space around it),
// or an error if it can't be a label. A label has 1 to 64 runes, no "/", no control or
// formatting characters, doesn't begin with "-" or "acc_", and is not all digits.
func CheckLabel(s string) (normalized string, err error) {
	if len(s) > 64*maxLabel { // far more than what composes to 64 runes
		return "", errLabelLength
	}
	s = norm.NFC.String(strings.TrimSpace(s))
	if err := checkLabelForm(s); err != nil {
		return "", err
	}
	return s, nil
}

// EqualLabel reports whether two labels look the same to a person: it ignores case and how
// accents are composed.
func EqualLabel(a, b string) bool {
	return strings.EqualFold(norm.NFC.String(a), norm.NFC.String(b))
}

var errLabelLength = fmt.Errorf("it must have 1 to %d characters", maxLabel)

// checkLabelForm checks all that must hold for a stored label. It doesn't check how accents
// are composed, which does no harm and would cost time on every read.
func checkLabelForm(s string) error {
	if n := utf8.RuneCountInString(s); n == 0 || n > maxLabel {
		return errLabelLength
	}
	if s[0] == '-' {
		return errors.New(`it can't begin with "-"`)
	}
	if strings.HasPrefix(s, idPrefix) {
		return fmt.Errorf("it can't begin with %q, as account ids do", idPrefix)
	}
	digits := true
	for _, r := range s {
		switch {
		case r == '/':
			return errors.New(`it can't contain "/", which separates a label from its provider`)
		case r == utf8.RuneError:
			return errors.New("it must be valid UTF-8")
		case rawtext.Steers(r):
			return errors.New("it can't contain control or formatting characters")
		}
		digits = digits && unicode.IsDigit(r)
	}
	if digits {
		return errors.New("it can't be a number: that is a position in the list")
	}
	return nil
}
