// Package agents tests the binary before an MCP server, with the official SDKs of
// the Model Context Protocol as clients and servers.
package agents
