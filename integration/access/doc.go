// Package access tests what callers may do: rbac, its policies and what it
// decides on.
package access
