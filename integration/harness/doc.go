// Package harness runs the binary for the tests of ./integration/..., which
// drive it over real sockets: servers with their ports and files, raw requests,
// upstreams and identity providers under a test's control, signers of tokens,
// certificates and requests, and the records of trails.
//
// It knows the binary, not the code. What it waits for, it waits for patiently:
// no test of this tree may depend on how fast the machine is.
package harness
