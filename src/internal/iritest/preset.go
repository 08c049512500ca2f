package iritest

import (
	"maps"
	"slices"
)

// preset describes how the API of one version differs from that of others.
type preset struct {
	appName, appVersion string
	hornet              bool
	// limited and pow follow from the default of REMOTE_LIMIT_API.
	limited []string
	pow     bool
	// parameterExceptions: an invalid parameter gives status 500 and "exception", instead of 400 and "error" (since
	// 1.7.1).
	parameterExceptions bool
	// bodyExceptions: invalid JSON and an empty body give status 500 and "exception" (up to 1.6.0).
	bodyExceptions bool
	// The fields of getNodeInfo added in 1.5.5, 1.5.6, 1.6.0 and 1.8.6.
	startMilestone, features, snapshotMilestone, databaseSize bool
	// configuration: getNodeAPIConfiguration exists (since 1.6.1).
	configuration bool
	// strictSync: tip selection is refused if the node is more than one milestone behind (since 1.8.1).
	strictSync bool
	// protectedFormat is the format of HORNET's error for a limited command.
	protectedFormat string
	// errorObjects: "error" is an object, and the duration is always 0 (HORNET 0.5.10).
	errorObjects bool
}

// neighbourCommands are the commands limited by default, besides those of PoW.
var neighbourCommands = []string{"addNeighbors", "getNeighbors", "removeNeighbors"}

// presets returns the versions at which the API changed, and some of those just before a change.
func presets() map[string]preset {
	all := map[string]preset{}
	p := preset{appName: "IRI", pow: true, bodyExceptions: true}
	add := func(version string, change func(*preset)) {
		change(&p)
		p.appVersion = version
		all[version] = p
	}
	unchanged := func(*preset) {}
	add("1.4.1.7", unchanged)
	add("1.4.2.4", unchanged)
	add("1.5.5", func(p *preset) { p.startMilestone = true })
	add("1.5.6-RELEASE", func(p *preset) { p.features, p.pow, p.limited = true, false, neighbourCommands })
	add("1.6.0-RELEASE", func(p *preset) { p.snapshotMilestone = true })
	add("1.6.1-RELEASE", func(p *preset) { p.bodyExceptions, p.configuration = false, true })
	add("1.7.0-RELEASE", unchanged)
	add("1.7.1-RELEASE", func(p *preset) { p.parameterExceptions = true })
	add("1.8.1", func(p *preset) { p.strictSync = true })
	add("1.8.6", func(p *preset) { p.databaseSize = true })
	add("1.9.0-RC7", unchanged)
	addHORNET(all)
	return all
}

func addHORNET(all map[string]preset) {
	p := preset{
		appName: "HORNET", hornet: true, limited: neighbourCommands,
		startMilestone: true, features: true, snapshotMilestone: true, configuration: true, strictSync: true,
		protectedFormat: "Command [%s] is protected",
	}
	for _, version := range []string{"0.4.2", "0.5.0"} {
		p.appVersion = version
		all["hornet-"+version] = p
	}
	p.appVersion, p.protectedFormat = "0.5.5", "command [%s] is protected"
	all["hornet-0.5.5"] = p
	p.appName, p.appVersion, p.errorObjects = "HORNET-legacy", "0.5.10", true
	all["hornet-0.5.10"] = p
}

// Versions lists the names that [Version] accepts, sorted.
func Versions() []string { return slices.Sorted(maps.Keys(presets())) }
