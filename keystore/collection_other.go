//go:build windows || darwin

package keystore

import "github.com/zalando/go-keyring"

func getItem(item string) (string, error) { return keyring.Get(Service, item) }

func setItem(item, text string) error { return keyring.Set(Service, item, text) }

func deleteItem(item string) error { return keyring.Delete(Service, item) }
