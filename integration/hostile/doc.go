// Package hostile has requests of attackers against a site with every layer.
package hostile
