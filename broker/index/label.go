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
