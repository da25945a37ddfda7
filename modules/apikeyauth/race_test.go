//go:build race

package apikeyauth

func init() { raceEnabled = true }
