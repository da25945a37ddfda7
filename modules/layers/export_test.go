package layers

// Examine is what `caddy moat check` loads a configuration with.
var Examine = examine
