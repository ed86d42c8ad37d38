package index

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/authferry/authferry/rawtext"
)

const maxLabel = 64 // runes

// CheckLabel returns s as it is stored (NFC, without white space around it), or
// why it can not be a label: one has 1 to 64 runes, no "/", no control or
// formatting character, does not begin with "-" or "acc_" and is not all digits.
func CheckLabel(s string) (normalized string, err error) {
	if len(s) > 64*maxLabel { // far beyond what composes to 64 runes
		return "", errLabelLength
	}
	s = norm.NFC.String(strings.TrimSpace(s))
	if err := checkLabelForm(s); err != nil {
		return "", err
	}
	return s, nil
}

// EqualLabel reports whether two labels are the same to a person: ignoring case,
// and however their accents are composed.
func EqualLabel(a, b string) bool {
	return strings.EqualFold(norm.NFC.String(a), norm.NFC.String(b))
}

var errLabelLength = fmt.Errorf("it must have 1 to %d characters", maxLabel)

// checkLabelForm is everything that must hold of a stored label. How its accents
// are composed is left out: it harms nobody, and costs on every read.
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
