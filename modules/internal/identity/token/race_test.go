//go:build race

package token

// raceEnabled says that the race detector is at work, under which pools lose
// what is put into them.
const raceEnabled = true
