package redact

// passing sends a body on as it is, or the part of it that was asked for.
// Nothing is held.
type passing struct{ rw *responseWriter }

func (p passing) write(b []byte) error {
	rw := p.rw
	if !rw.committed {
		if err := rw.commit(false); err != nil {
			return err
		}
	}
	if rw.part != nil {
		return rw.part.write(rw.w, b)
	}
	_, err := rw.w.Write(b)
	return err
}

func (passing) flush() (leaves bool, err error) { return true, nil }
func (passing) end() error                      { return nil }
func (passing) alters() bool                    { return false }

// dropping is for responses without a body, to HEAD or by their status. Their
// header leaves when they are complete.
type dropping struct{ rw *responseWriter }

func (dropping) write([]byte) error              { return nil }
func (dropping) flush() (leaves bool, err error) { return false, nil }
func (dropping) end() error                      { return nil }

// alters reports whether the body that the header describes would be redacted.
func (d dropping) alters() bool {
	return d.rw.view != nil && d.rw.kind != media && d.rw.kind != listed
}
