// Package layers tests all layers together: their order, reloads, protocols, and
// other plugins beside ours.
package layers
