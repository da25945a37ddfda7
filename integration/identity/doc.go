// Package identity tests who calls: each method of authentication, and how
// methods stand beside one another.
package identity
