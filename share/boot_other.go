//go:build !darwin

package share

func bootSession() string { return "" }
