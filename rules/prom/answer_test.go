package prom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

func sample(metric string, v float64) *model.Sample {
	return &model.Sample{Metric: model.Metric{"pod": model.LabelValue(metric)}, Value: model.SampleValue(v)}
}

func TestOneNumberIsReadFromAnAnswerOrTheReasonWhyNot(t *testing.T) {
	vector := func(s ...*model.Sample) model.Value { return model.Vector(s) }
	for _, c := range []struct {
		name     string
		value    model.Value
		warnings v1.Warnings
		err      error
		want     float64
		why      engine.Why
		detail   string
	}{
		{"a scalar is a number", &model.Scalar{Value: 3}, nil, nil, 3, "", ""},
		{"a vector of one is a number", vector(sample("a", 4)), nil, nil, 4, "", ""},
		{"an infinite number is for the caller to judge", vector(sample("a", math.Inf(1))), nil, nil, math.Inf(1), "", ""},
		{"an empty vector is absent", vector(), nil, nil, 0, engine.WhyAbsent, "no such series"},
		{"of several series two are named", vector(sample("a", 4), sample("b", 4), sample("c", 4)), nil, nil, 0, engine.WhyInvalid,
			`3 series where one was expected, such as {pod="a"} and {pod="b"}`},
		{"a histogram is not a number", vector(&model.Sample{Histogram: &model.SampleHistogram{}}), nil, nil, 0, engine.WhyInvalid, "histogram"},
		{"a matrix is not a number", model.Matrix{}, nil, nil, 0, engine.WhyInvalid, "a matrix"},
		{"a string is not a number", &model.String{Value: "x"}, nil, nil, 0, engine.WhyInvalid, "a string"},
		{"no value at all is invalid", nil, nil, nil, 0, engine.WhyInvalid, "without a value"},
		{"a warning makes the value unknown", vector(sample("a", 4)), v1.Warnings{"store away"}, nil, 0, engine.WhyPartial, "store away"},
		{"an info sent as a warning does not", vector(sample("a", 4)), v1.Warnings{"PromQL info: metric might not be a counter"}, nil, 4, "", ""},
		{"an info beside a warning does not hide it", vector(sample("a", 4)), v1.Warnings{"PromQL info: x", "PromQL warning: y"}, nil, 0, engine.WhyPartial, "y"},
		{"a deadline is a timeout", nil, nil, fmt.Errorf("post: %w", context.DeadlineExceeded), 0, engine.WhyTimeout, ""},
		{"a cancelled query has failed", nil, nil, context.Canceled, 0, engine.WhyFailed, "canceled"},
		{"an error keeps its text", nil, nil, errors.New("connection refused"), 0, engine.WhyFailed, "connection refused"},
		{"an API error keeps the server's message", nil, nil, &v1.Error{Type: v1.ErrBadData, Msg: "parse error"}, 0, engine.WhyFailed, "bad_data: parse error"},
		{"the server's own timeout is a timeout", nil, nil,
			&v1.Error{Type: v1.ErrServer, Msg: "server error: 503", Detail: `{"status":"error","errorType":"timeout","error":"query timed out"}`},
			0, engine.WhyTimeout, "query timed out"},
		{"a message in the body of a 503 is found", nil, nil,
			&v1.Error{Type: v1.ErrServer, Msg: "server error: 503", Detail: `{"status":"error","errorType":"unavailable","error":"TSDB not ready"}`},
			0, engine.WhyFailed, "unavailable: TSDB not ready"},
		{"a body that is no JSON is shown on one line", nil, nil,
			&v1.Error{Type: v1.ErrServer, Msg: "server error: 502", Detail: "<html>\n  Bad Gateway\n</html>"},
			0, engine.WhyFailed, "server error: 502: <html> Bad Gateway </html>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why, detail := answerOf(c.value, c.warnings, c.err).number()
			if got != c.want || why != c.why || !strings.Contains(detail, c.detail) || (c.why == "") != (detail == "") {
				t.Errorf("got %v, %q, %q; want %v, %q, …%q…", got, why, detail, c.want, c.why, c.detail)
			}
		})
	}
}

func TestDetailsAreCutAtACharacterAndNeverLongerThanAReadingAllows(t *testing.T) {
	for n := maxDetail - 4; n <= maxDetail+4; n++ {
		s := clip(strings.Repeat("x", n) + "日本語")
		if len(s) > maxDetail || !utf8.ValidString(s) {
			t.Errorf("%d characters and three wide ones were cut to %d bytes, valid: %v", n, len(s), utf8.ValidString(s))
		}
	}
	exact := strings.Repeat("x", maxDetail)
	if clip(exact) != exact {
		t.Error("what just fits was cut")
	}
	if s := clip("a\xffb"); s != "a\uFFFDb" {
		t.Errorf("an invalid byte became %q", s)
	}
}

func TestAnAnswerIsReadUpToTheBoundAndNotAByteFurther(t *testing.T) {
	for _, c := range []struct {
		size, most int
		want       string
	}{
		{maxAnswer, maxAnswer, ""},
		{maxAnswer + 1, maxAnswer, "the answer is longer than 4 MiB: the query has to aggregate"},
		{maxPast, maxPast, ""},
		{maxPast + 1, maxPast, "the answer is longer than 64 MiB: the query has to aggregate"},
	} {
		b := &boundedBody{io.NopCloser(io.LimitReader(zeros{}, int64(c.size))), c.most, c.most}
		n, err := io.Copy(io.Discard, b)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if n != int64(c.most) || said != c.want || errors.Is(err, errTooLong) != (c.want != "") {
			t.Errorf("of %d bytes %d were read and then %v, want %d and %q", c.size, n, err, c.most, c.want)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestARefusalThatRepeatsTheRequestShowsNoSecret(t *testing.T) {
	for _, form := range []string{"text", "json"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			text := fmt.Sprintf("refused: %s, %s, %s", r.Header.Get("Authorization"), password, r.Header.Get("X-Tenant"))
			if form == "json" {
				w.Header().Set("Content-Type", "application/json")
				text = fmt.Sprintf(`{"status":"error","errorType":"bad_data","error":%q}`, text)
			}
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, text)
		}))
		defer server.Close()
		cfg := config.DefaultHTTPClientConfig
		cfg.BasicAuth = &config.BasicAuth{Username: "ann", Password: "s3cret"}
		cfg.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{"X-Tenant": {Secrets: []config.Secret{"t3nant"}}}}
		source, err := Dial("main", cfg, server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _, detail := send(t.Context(), source.Replicas[0], "1", noon, time.Second).number()
		if !strings.Contains(detail, "refused: <secret>, <secret>, <secret>") {
			t.Errorf("as %s: the detail is %q", form, detail)
		}
	}
}

func TestDialSendsCredentialsAndFollowsThePathOfTheURL(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}`)
	}))
	defer server.Close()
	cfg := config.DefaultHTTPClientConfig
	cfg.Authorization = &config.Authorization{Type: "Bearer", Credentials: "s3cret"}
	source, err := Dial("main", cfg, server.URL+"/tenant/")
	if err != nil {
		t.Fatal(err)
	}
	if x, why, detail := send(t.Context(), source.Replicas[0], "1", noon, time.Second).number(); x != 1 {
		t.Fatalf("got %v %s %s", x, why, detail)
	}
	if got.URL.Path != "/tenant/api/v1/query" || got.Header.Get("Authorization") != "Bearer s3cret" || got.Header.Get("User-Agent") != "modeshift" {
		t.Errorf("the request was %s with %v", got.URL, got.Header)
	}
	if got.Form.Get("query") != "1" || got.Form.Get("time") != "1772366400" || got.Form.Get("timeout") != "1s" {
		t.Errorf("the request's form was %v", got.Form)
	}
}

func TestDialRefusesWhatCannotWork(t *testing.T) {
	both := config.DefaultHTTPClientConfig
	both.BasicAuth = &config.BasicAuth{Username: "u"}
	both.BearerToken = "t"
	noFile := config.DefaultHTTPClientConfig
	noFile.TLSConfig.CAFile = "/no/such/file"
	for _, c := range []struct {
		name, url string
		cfg       config.HTTPClientConfig
	}{
		{"two ways to authenticate", "http://localhost:9090", both},
		{"a CA that cannot be read", "https://localhost:9090", noFile},
		{"a URL that is none", "http://[", config.DefaultHTTPClientConfig},
	} {
		if _, err := Dial("main", c.cfg, c.url); err == nil || !strings.Contains(err.Error(), "source main") {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
