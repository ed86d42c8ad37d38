package testenv

// T is a test, or what stands for one.
type T interface {
	Helper()
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

// Skipper is a test that can be skipped.
type Skipper interface {
	T
	Skip(args ...any)
}
