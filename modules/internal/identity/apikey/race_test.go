//go:build race

package apikey

func init() { raceEnabled = true }
