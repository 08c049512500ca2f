package daemon

import (
	"context"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/mirror"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// probe queries a node as HAProxy's own check does: getNodeInfo, on the way that requests take. A certificate that Go does
// not accept and HAProxy does is left to HAProxy's check.
func probe(caFile string) mirror.Probe {
	return func(ctx context.Context, in pool.In) error {
		opts, scheme := iri.Options{ServerName: in.SNI.String(), SkipVerify: in.TLS == pool.Unverified}, "https"
		if in.TLS == pool.Plain {
			scheme = "http"
		}
		if in.TLS == pool.Verified && caFile != "" {
			roots, err := iri.ReadRoots(caFile)
			if err != nil {
				return err
			}
			opts.Roots = roots
		}
		client, err := iri.New(scheme+"://"+in.Addr.String(), opts)
		if err != nil {
			return err
		}
		defer client.Close()
		_, err = client.NodeInfo(ctx)
		return err
	}
}
