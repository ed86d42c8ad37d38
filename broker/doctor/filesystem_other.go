//go:build !linux && !darwin

package doctor

import "strings"

// networkFileSystem only knows the shares that can be recognized by the path.
func networkFileSystem(dir string) string {
	if strings.HasPrefix(dir, `\\`) && !strings.HasPrefix(dir, `\\?\`) {
		return "a network share"
	}
	return ""
}
