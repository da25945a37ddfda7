package redact

import "strings"

// charset is what the charset parameter of a Content-Type means for the bytes.
type charset uint8

const (
	utf8Charset  charset = iota // UTF-8, ASCII, or not said
	superCharset                // bytes below 0x80 are ASCII, whatever stands before them
	wideCharset                 // UTF-16 or UTF-32
	otherCharset                // not known, or one that writes other things with the bytes of ASCII
)

// readCharset reads the name of a charset.
func readCharset(name string) charset {
	name = strings.ToLower(strings.TrimSpace(name))
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "unicode-1-1-utf-8":
		return utf8Charset
	case "big5", "big5-hkscs", "gbk", "x-gbk", "gb2312", "gb_2312-80", "gb18030", "euc-jp", "x-euc-jp", "euc-kr", "euc-tw",
		"shift_jis", "shift-jis", "sjis", "x-sjis", "ms_kanji", "windows-31j", "cp932", "ms932", "cp949", "ks_c_5601-1987",
		"cp936", "cp950", "tis-620", "macintosh", "x-mac-roman", "cp437", "ibm437", "cp850", "ibm850", "cp852", "ibm852", "cp866", "ibm866":
		return superCharset
	}
	for _, family := range [...]string{"iso-8859-", "iso8859-", "iso_8859-", "iso8859_", "latin", "l1", "windows-125", "windows-874", "windows-949", "windows-936", "cp125", "x-cp125", "koi8-"} {
		if strings.HasPrefix(name, family) {
			return superCharset
		}
	}
	for _, family := range [...]string{"utf-16", "utf16", "utf-32", "utf32", "ucs-2", "ucs-4", "iso-10646-ucs-"} {
		if strings.HasPrefix(name, family) {
			return wideCharset
		}
	}
	return otherCharset
}

// fault is what is wrong with JSON that is labelled with c. In superCharset
// only bytes beyond ASCII are, which are refused as they come.
func (c charset) fault() fault {
	if c == utf8Charset || c == superCharset {
		return fault{}
	}
	return fault{reason: "charset", detail: "JSON in a charset other than UTF-8"}
}

// ascii returns how many bytes p begins with that are ASCII.
func ascii(p []byte) int {
	for i, c := range p {
		if c >= 0x80 {
			return i
		}
	}
	return len(p)
}

// beyondASCII is the fault of a byte that may be anything.
func beyondASCII() fault {
	return fault{reason: "charset", detail: "a byte beyond ASCII in JSON that is labelled with a charset other than UTF-8"}
}
