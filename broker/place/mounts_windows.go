package place

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

func mountTable() ([]mount, error) { return nil, nil }

func topMount([]mount) *mount { return nil }

func (m *Mounts) at(string) *mount { return nil }

func (m *Mounts) namesOf(string) []string { return nil }

// remote reports whether path is on a drive letter of a network share.
func (m *Mounts) remote(path string) bool {
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(path) + `\`)
	return err != nil || windows.GetDriveType(root) == windows.DRIVE_REMOTE
}
