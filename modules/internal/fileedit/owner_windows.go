package fileedit

import "os"

// keepOwner does nothing: a new file inherits the rights of its directory.
func keepOwner(*os.File, os.FileInfo) error { return nil }
