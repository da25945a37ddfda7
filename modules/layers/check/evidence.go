package check

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// shortKeep is what many rules ask records to be kept for, the Cybersecurity
// Law of China article 23 (formerly 21) among them: six months.
const shortKeep = 180 * 24 * time.Hour

// evidence looks at what is recorded, and how safe it is.
func (c *checker) evidence() {
	for _, s := range c.sites {
		recorded := false
		for _, h := range s.handlers {
			if h.name == "audit" {
				recorded = true
				c.trail(h)
			}
		}
		if decides := firstOf(s, func(h *handler) bool { return h.authenticates() || h.name == "rbac" }); decides != nil && !recorded {
			c.add("audit_missing", c.spot(decides), s, "nothing records who was let in and who was refused: after an incident nobody can say what happened")
		}
	}
}

func (c *checker) trail(h *handler) {
	a := into[struct {
		Path      string            `json:"path"`
		Sync      string            `json:"sync"`
		OnFailure string            `json:"on_failure"`
		Keep      time.Duration     `json:"keep"`
		Witnesses []json.RawMessage `json:"witnesses"`
		Deliver   []json.RawMessage `json:"deliver"`
	}](h.raw)
	if a.Keep > 0 && a.Keep < shortKeep {
		c.add("audit_keep_short", c.spot(h, "keep"), h.site, "records are deleted after "+days(a.Keep)+"; many rules ask for 180 days")
	}
	if len(a.Witnesses)+len(a.Deliver) == 0 {
		c.add("audit_alone", c.spot(h), h.site, "the trail is on this machine alone: whoever takes the machine can delete it with the proof that it was there")
	}
	path := filepath.ToSlash(filepath.Clean(resolved(a.Path)))
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run"} {
		if within(path, dir) {
			c.add("audit_temporary", c.spot(h), h.site, dir+" is emptied when the machine starts, or by a timer")
			break
		}
	}
	for _, root := range c.roots() {
		if within(path, root) {
			c.add("audit_served", c.spot(h), h.site, "the trail is below "+root+", which a file_server serves: whoever guesses the names of its files can fetch them")
			break
		}
	}
	if a.OnFailure == "continue" || a.Sync == "off" {
		words := []string{"on_failure", "continue"}
		if a.Sync == "off" {
			words = []string{"sync", "off"}
		}
		c.add("audit_lossy", c.spot(h, words...), h.site, strings.Join(words, " ")+": who fills the disk, or the machine as it goes down, leaves requests without a record")
	}
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		n := int(d / (24 * time.Hour))
		if n != 1 {
			return strings.TrimSpace(strings.Join([]string{itoa(n), "days"}, " "))
		}
		return "1 day"
	}
	return d.String()
}

// within reports whether a path is a directory or in it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// roots returns the directories that file_server serves.
func (c *checker) roots() []string {
	var all []string
	for _, s := range c.sites {
		root := ""
		for _, h := range s.handlers {
			switch h.name {
			case "vars":
				if r := into[struct {
					Root string `json:"root"`
				}](h.raw).Root; r != "" {
					root = r
				}
			case "file_server":
				f := into[struct {
					Root string `json:"root"`
				}](h.raw)
				if f.Root != "" {
					root = f.Root
				}
				if abs, err := filepath.Abs(root); err == nil && !strings.Contains(root, "{") {
					all = append(all, filepath.ToSlash(abs))
				}
			}
		}
	}
	return slices.Compact(all)
}

// logs looks at what Caddy's access logs show.
func (c *checker) logs() {
	for _, s := range c.sites {
		logs := s.server.Logs
		if logs == nil {
			continue
		}
		if logs.Credentials && s.known() {
			c.add("credentials_in_access_log", spot{global: true, directives: []string{"log_credentials", "servers"}, words: []string{"log_credentials"}}, s,
				"log_credentials: Authorization, Cookie and Set-Cookie are written to the access logs as they are: whoever reads a log can be any caller", "# log_credentials")
		}
		places := s.exposed()
		if len(places) == 0 || !c.shows(s) {
			continue
		}
		at := spot{hosts: s.where(), directives: []string{"log"}}
		c.add("credentials_in_access_log", at, s, "a credential may stand in "+strings.Join(places, ", ")+", which Caddy writes unmasked to the access log of this site")
	}
}

// exposed returns the locations of credentials in a site that Caddy's access
// logs show: all but Authorization and cookies.
func (s *site) exposed() []string {
	var places []string
	for _, h := range s.handlers {
		for _, p := range h.providers {
			m := into[methodConfig](p.raw)
			for _, from := range m.From {
				switch {
				case from.Query != "":
					places = append(places, "query "+from.Query)
				case from.Header != "" && !strings.EqualFold(from.Header, "Authorization") && !strings.EqualFold(from.Header, "Proxy-Authorization"):
					places = append(places, "header "+from.Header)
				}
			}
			if p.name == "api_key_auth" && len(m.From) == 0 {
				places = append(places, "header X-API-Key")
			}
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// shows reports whether a site has an access log that hides nothing more than
// Caddy does.
func (c *checker) shows(s *site) bool {
	var names []string
	for _, host := range s.hosts {
		if slices.Contains(s.server.Logs.Skip, host) {
			continue
		}
		var list []string
		if raw, ok := s.server.Logs.Names[host]; ok {
			if json.Unmarshal(raw, &list) != nil {
				var one string
				_ = json.Unmarshal(raw, &one)
				list = []string{one}
			}
			names = append(names, list...)
		}
	}
	if len(s.server.Logs.Names) == 0 || len(s.hosts) == 0 {
		names = append(names, s.server.Logs.Default)
	}
	return slices.ContainsFunc(names, func(name string) bool {
		if name == "" {
			name = "default"
		}
		log := c.config.Logging.Logs[name]
		return log == nil || log.Encoder.Format != "moat" && log.Encoder.Format != "filter"
	})
}
