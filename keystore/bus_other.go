//go:build windows || darwin

package keystore

func reachable() error { return nil }

func busErrorName(error) string { return "" }
