// Package proofs is the switch between what every test run does and the proofs, which
// take minutes: real clients, Wine, herds of processes, long series of kills.
// CONTRIBUTING.md lists what is behind it, and a test holds the list to the code.
package proofs

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// Variable turns the proofs on in the environment of go test, with the value 1.
const Variable = "AUTHFERRY_PROOFS"

// On reports whether the proofs run.
func On() bool { return os.Getenv(Variable) == "1" }

// Only skips a test that is a proof as a whole, unless the proofs run.
func Only(t testing.TB, why string) {
	t.Helper()
	if !On() {
		t.Skipf("needs %s=1: %s", Variable, why)
	}
}

// Size is how many of many like cases a test takes: a few, or all where the proofs run.
func Size(few, all int) int {
	if On() {
		return all
	}
	return few
}

// Sample is what a test takes of many like cases, in their order: a few, others each
// time, or all where the proofs run.
func Sample[Case any](few int, all []Case) []Case {
	if On() || few >= len(all) {
		return all
	}
	chosen := rand.Perm(len(all))[:few] // #nosec G404 -- a sample
	slices.Sort(chosen)
	var sample []Case
	for _, i := range chosen {
		sample = append(sample, all[i])
	}
	return sample
}
