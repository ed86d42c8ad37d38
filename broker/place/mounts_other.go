//go:build !linux && !darwin && !windows

package place

func mountTable() ([]mount, error) { return nil, nil }

func topMount([]mount) *mount { return nil }

func (m *Mounts) at(string) *mount { return nil }

func (m *Mounts) namesOf(string) []string { return nil }

func (m *Mounts) remote(string) bool { return false }
