// Package examples runs every example, and the commands of its README.
package examples
