package trail

import "os"

// stillAt reports whether path is the name of the file that info describes.
func stillAt(path string, info os.FileInfo) (bool, error) {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(now, info), err
}
