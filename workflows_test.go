package authferry_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/authferry/authferry/testenv"
)

var (
	// An action is the code of a stranger: a commit of it, with its version for people.
	uses   = regexp.MustCompile(`(?m)^\s+(?:- )?uses: (.*)$`)
	pinned = regexp.MustCompile(`^actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	// Text of others in a shell script is a program of theirs: it comes by the environment.
	runs = regexp.MustCompile(`(?m)^\s+(?:- )?run: (?:\|\n((?:\s{8,}.*\n)+)|(.*)$)`)
	ours = regexp.MustCompile(`(?:\.ci|scripts)/[\w.-]+`)
)

// What actionlint doesn't look at in the workflows.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(".github/workflows/*.yml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		testenv.Must(t, err)
		for _, m := range uses.FindAllSubmatch(content, -1) {
			if !pinned.Match(m[1]) {
				t.Errorf("%s: %s is not pinned to a commit of an action of GitHub's own", file, m[1])
			}
		}
		for _, m := range runs.FindAllSubmatch(content, -1) {
			if regexp.MustCompile(`\$\{\{`).Match(append(m[1], m[2]...)) {
				t.Errorf("%s: pass this by env, not as part of the script: %s", file, m[0])
			}
		}
		for _, path := range ours.FindAll(content, -1) {
			if _, err := os.Stat(string(path)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		if !regexp.MustCompile(`(?m)^permissions:\n  contents: read\n\S?`).Match(content) {
			t.Errorf("%s: jobs may read what is here, and no more unless they say why", file)
		}
	}
}
