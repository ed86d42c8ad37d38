//go:build !linux && !darwin && !windows

package broker

func mountTable() ([]mount, error) { return nil, nil }

func topMount([]mount) *mount { return nil }

func (m *mounts) at(string) *mount { return nil }

func (m *mounts) namesOf(string) []string { return nil }

func (m *mounts) remote(string) bool { return false }
