package server

import (
	"context"

	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/rules/convert"
	"github.com/modeshift/modeshift/rules/prom"
)

// VerifyImport compares imported rules with what their own tool would have done, over a past of the Prometheus at url.
func VerifyImport(ctx context.Context, url string, result *convert.Result, opts convert.VerifyOptions) ([]convert.Verified, error) {
	if err := webURL("--verify", url); err != nil {
		return nil, err
	}
	source, err := prom.Dial("history", config.DefaultHTTPClientConfig, url)
	if err != nil {
		return nil, err
	}
	return convert.Verify(ctx, source.Replicas[0], result, opts)
}
