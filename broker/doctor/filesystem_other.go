//go:build !linux && !darwin

package doctor

import "strings"

// networkFileSystem knows only of the shares that show in a path.
func networkFileSystem(dir string) string {
	if strings.HasPrefix(dir, `\\`) && !strings.HasPrefix(dir, `\\?\`) {
		return "a network share"
	}
	return ""
}
