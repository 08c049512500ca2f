package iritest

import (
	"maps"
	"slices"
)

// preset is how one version differs from the others.
type preset struct {
	appName, appVersion string
	hornet              bool
	// limited and pow are the defaults of REMOTE_LIMIT_API.
	limited []string
	pow     bool
	// exceptions: answers a bad parameter by 500 and "exception" instead of 400
	// and "error" (since 1.7.1).
	exceptions bool
	// looseJSON: answers bad JSON and an empty body by 500 and "exception" (up to
	// 1.6.0).
	looseJSON bool
	// start, features, snapshot, size: the fields of getNodeInfo that came with
	// 1.5.5, 1.5.6, 1.6.0 and 1.8.6.
	start, features, snapshot, size bool
	// configuration: has getNodeAPIConfiguration (since 1.6.1).
	configuration bool
	// strictSync: refuses tip selection as soon as it is more than one milestone
	// behind (since 1.8.1).
	strictSync bool
	// protected is HORNET's text for a limited command.
	protected string
	// objects: HORNET 0.5.10 puts an object into "error" and tells no duration.
	objects bool
}

// neighbourCommands are the limited commands besides those of PoW.
var neighbourCommands = []string{"addNeighbors", "getNeighbors", "removeNeighbors"}

// presets has each version at which something changed, and the last one before.
func presets() map[string]preset {
	all := map[string]preset{}
	p := preset{appName: "IRI", pow: true, looseJSON: true}
	add := func(version string, change func(*preset)) {
		change(&p)
		p.appVersion = version
		all[version] = p
	}
	nothing := func(*preset) {}
	add("1.4.1.7", nothing)
	add("1.4.2.4", nothing)
	add("1.5.5", func(p *preset) { p.start = true })
	add("1.5.6-RELEASE", func(p *preset) { p.features, p.pow, p.limited = true, false, neighbourCommands })
	add("1.6.0-RELEASE", func(p *preset) { p.snapshot = true })
	add("1.6.1-RELEASE", func(p *preset) { p.looseJSON, p.configuration = false, true })
	add("1.7.0-RELEASE", nothing)
	add("1.7.1-RELEASE", func(p *preset) { p.exceptions = true })
	add("1.8.1", func(p *preset) { p.strictSync = true })
	add("1.8.6", func(p *preset) { p.size = true })
	add("1.9.0-RC7", nothing)
	addHORNET(all)
	return all
}

func addHORNET(all map[string]preset) {
	p := preset{
		appName: "HORNET", hornet: true, limited: neighbourCommands,
		start: true, features: true, snapshot: true, configuration: true, strictSync: true, protected: "Command [%s] is protected",
	}
	for _, version := range []string{"0.4.2", "0.5.0"} {
		p.appVersion = version
		all["hornet-"+version] = p
	}
	p.appVersion, p.protected = "0.5.5", "command [%s] is protected"
	all["hornet-0.5.5"] = p
	p.appName, p.appVersion, p.objects = "HORNET-legacy", "0.5.10", true
	all["hornet-0.5.10"] = p
}

// Versions are the names that [Version] knows, sorted.
func Versions() []string { return slices.Sorted(maps.Keys(presets())) }
