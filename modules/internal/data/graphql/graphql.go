// Package graphql reads as much of a GraphQL document (October 2021, sections
// 2.1 and 2.2) as it takes to tell which fields get other names in the response
// and which names values are given for.
//
// It is a lexer and a count of brackets. What it accepts may still be no
// document, which a server then rejects; of what is one it misses no name.
package graphql

import (
	"errors"
	"strings"
)

// ErrSyntax is a text that is not a GraphQL document.
var ErrSyntax = errors.New("not a GraphQL document")

// Names is what a document says of names.
type Names struct {
	// Aliased are the fields that get another name in the response.
	Aliased []string

	// Given are the arguments, and the fields of input objects, that a value
	// is written for.
	Given []string
}

// Read returns the names of a document.
func Read(document string) (Names, error) {
	var n Names
	l := lexer{text: strings.TrimPrefix(document, "\ufeff")}
	var open []byte // the brackets that are open
	var before [3]token
	parens := 0
	for {
		t := l.next()
		switch t.kind {
		case bad:
			return n, ErrSyntax
		case end:
			if len(open) > 0 {
				return n, ErrSyntax
			}
			return n, nil
		case '(', '[', '{':
			open = append(open, byte(t.kind))
			if t.kind == '(' {
				parens++
			}
		case ')', ']', '}':
			if len(open) == 0 || open[len(open)-1] != opener[t.kind] {
				return n, ErrSyntax
			}
			open = open[:len(open)-1]
			if t.kind == ')' {
				parens--
			}
		case ':':
			if before[0].kind == name && before[1].kind != '$' && parens > 0 {
				n.Given = append(n.Given, before[0].text)
			}
		case name:
			if before[0].kind == ':' && before[1].kind == name && parens == 0 && before[1].text != t.text {
				n.Aliased = append(n.Aliased, t.text)
			}
		}
		before[2], before[1], before[0] = before[1], before[0], t
	}
}

var opener = map[kind]byte{')': '(', ']': '[', '}': '{'}

// kind is a punctuator, or one of these.
type kind rune

const (
	bad kind = -iota - 1
	end
	name
	value // a number or a string
)

type token struct {
	kind kind
	text string // of a name
}

type lexer struct {
	text string
	at   int
}

// next returns the next token. What is ignored between tokens (section 2.1.7)
// is skipped.
func (l *lexer) next() token {
	for l.at < len(l.text) {
		c := l.text[l.at]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',':
			l.at++
			continue
		case strings.HasPrefix(l.text[l.at:], "\ufeff"):
			l.at += len("\ufeff")
			continue
		case c == '#':
			n := strings.IndexAny(l.text[l.at:], "\r\n")
			if n < 0 {
				n = len(l.text) - l.at
			}
			l.at += n
			continue
		}
		return l.token(c)
	}
	return token{kind: end}
}

func (l *lexer) token(c byte) token {
	from := l.at
	switch {
	case isLetter(c):
		for l.at < len(l.text) && (isLetter(l.text[l.at]) || isDigit(l.text[l.at])) {
			l.at++
		}
		return token{name, l.text[from:l.at]}
	case isDigit(c), c == '-':
		for l.at++; l.at < len(l.text) && (isLetter(l.text[l.at]) || isDigit(l.text[l.at]) || strings.IndexByte(".+-", l.text[l.at]) >= 0); l.at++ {
		}
		return token{kind: value}
	case c == '"':
		return l.str()
	case strings.HasPrefix(l.text[l.at:], "..."):
		l.at += 3
		return token{kind: '.'}
	case strings.IndexByte("!$&():=@[]{|}", c) >= 0:
		l.at++
		return token{kind: kind(c)}
	}
	return token{kind: bad}
}

// str skips a string.
func (l *lexer) str() token {
	const block = `"""`
	if strings.HasPrefix(l.text[l.at:], block) {
		for l.at += 3; l.at < len(l.text); l.at++ {
			switch {
			case strings.HasPrefix(l.text[l.at:], `\`+block):
				l.at += 3
			case strings.HasPrefix(l.text[l.at:], block):
				l.at += 3
				return token{kind: value}
			}
		}
		return token{kind: bad}
	}
	for l.at++; l.at < len(l.text); l.at++ {
		switch l.text[l.at] {
		case '\\':
			l.at++
		case '\n', '\r':
			return token{kind: bad}
		case '"':
			l.at++
			return token{kind: value}
		}
	}
	return token{kind: bad}
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' && c < 0x80 }
func isDigit(c byte) bool  { return c-'0' <= 9 }
