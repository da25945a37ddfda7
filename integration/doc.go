// Package integration is the root of the tests that drive the real binary, as
// xcaddy builds it from xcaddy.json, over real sockets: a package per promise,
// round the package harness. The binary is built once for all of them;
// MOAT_BINARY names one that is built already.
package integration
