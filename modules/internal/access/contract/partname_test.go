package contract

import (
	mimemultipart "mime/multipart"
	"net/textproto"
	"testing"
)

// TestPartsHaveOneName holds that a part has no second name for who does not know name*.
func TestPartsHaveOneName(t *testing.T) {
	for field, want := range map[string]bool{
		"form-data; name=n":                     true,
		"form-data; name=n; filename*=utf-8''n": true,
		"form-data; name=q; name*=utf-8''n":     false,
		"form-data; NAME*=utf-8''n":             false,
		"form-data; name*0=n":                   false,
		"attachment; name=n":                    false,
	} {
		part := &mimemultipart.Part{Header: textproto.MIMEHeader{"Content-Disposition": {field}}}
		if _, ok := partName(part); ok != want {
			t.Errorf("%s: got %t", field, ok)
		}
	}
}
