package testenv

// T is a test, or what stands for one.
type T interface {
	Helper()
	Error(args ...any)
	Fatal(args ...any)
}

// Must ends the test where there is an error. A nil pointer of a type of its own is one,
// too: what has such a type is compared with nil.
func Must(t T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Check is Must for a test that goes on.
func Check(t T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// Err is the error of a call whose result does not matter.
func Err(_ any, err error) error { return err }

// Skipper is a test that can be skipped.
type Skipper interface {
	T
	Skip(args ...any)
}
