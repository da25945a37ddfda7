// Package suggest finds the word that somebody probably meant.
package suggest

import "unicode/utf8"

// Nearest returns the one of words that is spelled most like word, "" if none
// is like it. A letter more, less or other, and two that have changed places,
// make one difference; words of up to four letters may have one difference,
// longer ones two.
func Nearest(word string, words []string) string {
	best, least := "", 3
	switch n := utf8.RuneCountInString(word); {
	case n < 2:
		return "" // each is like each other
	case n <= 4:
		least = 2
	}
	for _, w := range words {
		if n := distance([]rune(word), []rune(w), least); n < least && w != word {
			best, least = w, n
		}
	}
	return best
}

// DidYouMean returns the end of a message about an unknown word: "; did you
// mean 'x'?", or nothing.
func DidYouMean(word string, words []string) string {
	if near := Nearest(word, words); near != "" {
		return "; did you mean '" + near + "'?"
	}
	return ""
}

// distance is that of Damerau and Levenshtein, in its restricted form, or limit
// if it is not less.
func distance(a, b []rune, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit || max(len(a), len(b)) > 64 {
		return limit
	}
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		now[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			now[j+1] = min(last[j]+cost, last[j+1]+1, now[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last, now = last, now, before
	}
	return min(last[len(b)], limit)
}
