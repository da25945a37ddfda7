//go:build !unix

package mcp

func cpuTime() int64 { return 0 }
