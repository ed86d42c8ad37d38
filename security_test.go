package authferry_test

import (
	"bytes"
	"os"
	"regexp"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// Every test that SECURITY.md names is there, and no claim is without one.
func TestSecurityClaimsAreTested(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	testenv.Must(t, err)
	claim := regexp.MustCompile("`([a-z][\\w/.-]*(?:_test\\.go|\\.txtar))(?::(\\w+))?`")
	for table := range bytes.SplitSeq(text, []byte("| can't | held by |\n| --- | --- |\n")) {
		for row := range bytes.Lines(table) {
			if !bytes.HasPrefix(row, []byte("| ")) {
				break
			}
			if !claim.Match(row) {
				t.Errorf("SECURITY.md: no test holds %s", row)
			}
		}
	}
	claims := claim.FindAllSubmatch(text, -1)
	if len(claims) < 20 {
		t.Fatalf("%d tests are named", len(claims))
	}
	for _, c := range claims {
		file, name := string(c[1]), c[2]
		source, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("SECURITY.md: %v", err)
			continue
		}
		if len(name) > 0 && !bytes.Contains(source, append(append([]byte("\nfunc "), name...), '(')) {
			t.Errorf("SECURITY.md: there is no %s in %s", name, file)
		}
	}
	if n := bytes.Count(text, []byte("\n")); n > 255 {
		t.Errorf("SECURITY.md has %d lines: nobody reads more than 255", n)
	}
}
