// Package integration holds the tests that drive the real binary, as xcaddy
// builds it from xcaddy.json, over real sockets. The binary is built once a
// run; MOAT_BINARY names one that is built already.
package integration
