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
	// objects: HORNET 0.5.10 puts an object into "error" and tells no duration.
	objects bool
}

// neighbourCommands are the limited commands besides those of PoW.
var neighbourCommands = []string{"addNeighbors", "getNeighbors", "removeNeighbors"}

func presets() map[string]preset {
	iri := func(version string) preset { return preset{appName: "IRI", appVersion: version} }
	p1417 := iri("1.4.1.7")
	p1417.pow, p1417.looseJSON = true, true
	p155 := p1417
	p155.appVersion, p155.start = "1.5.5", true
	p156 := p155
	p156.appVersion, p156.features, p156.pow, p156.limited = "1.5.6-RELEASE", true, false, neighbourCommands
	p171 := p156
	p171.appVersion, p171.looseJSON, p171.snapshot = "1.7.1-RELEASE", false, true
	p171.exceptions, p171.configuration = true, true
	p186 := p171
	p186.appVersion, p186.strictSync, p186.size = "1.8.6", true, true
	h050 := preset{
		appName: "HORNET", appVersion: "0.5.0", hornet: true, limited: neighbourCommands,
		start: true, features: true, snapshot: true, configuration: true, strictSync: true,
	}
	h0510 := h050
	h0510.appName, h0510.appVersion, h0510.objects = "HORNET-legacy", "0.5.10", true
	return map[string]preset{
		"1.4.1.7": p1417, "1.5.5": p155, "1.5.6-RELEASE": p156, "1.7.1-RELEASE": p171, "1.8.6": p186,
		"hornet-0.5.0": h050, "hornet-0.5.10": h0510,
	}
}

// Versions are the names that [Version] knows, sorted.
func Versions() []string { return slices.Sorted(maps.Keys(presets())) }
