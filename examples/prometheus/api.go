package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/stats"
)

// maxPoints is Prometheus's limit of a range query: enough for a week in minutes.
const maxPoints = 11_000

// maxAnnotations is how many warnings, and how many infos, an answer carries.
const maxAnnotations = 10

// answer is the envelope of every answer.
// Source: Prometheus documentation, "HTTP API", "Format overview".
type answer struct {
	Status    string   `json:"status"` // success or error
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	Infos     []string `json:"infos,omitempty"`
}

// data is the payload of a query's answer.
type data struct {
	Type   parser.ValueType `json:"resultType"`
	Result parser.Value     `json:"result"`
	Stats  stats.QueryStats `json:"stats,omitempty"` // when asked for
}

// fault is an error with the API's name for its kind, which fixes the status code.
type fault struct {
	kind string
	err  error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// faultCodes are the status codes Prometheus gives its error types. 499, known from nginx, says that the client went away.
var faultCodes = map[string]int{
	"bad_data":  http.StatusBadRequest,
	"execution": http.StatusUnprocessableEntity,
	"canceled":  499,
	"timeout":   http.StatusServiceUnavailable,
	"internal":  http.StatusInternalServerError,
	"not_found": http.StatusNotFound,
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for path, query := range map[string]func(context.Context, *http.Request) (promql.Query, error){
		"/api/v1/query":       s.instant,
		"/api/v1/query_range": s.span,
	} {
		serve := func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, query) }
		mux.HandleFunc("GET "+path, serve)
		mux.HandleFunc("POST "+path, serve)
	}
	// By the time anything is served the database is open, so ready and healthy are the same.
	for path, text := range map[string]string{"GET /-/ready": "Ready.\n", "GET /-/healthy": "Healthy.\n"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("Prometheus Server is " + text)) // the client may be gone
		})
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, &fault{"not_found", fmt.Errorf("%s %s is not served by the embedded Prometheus", r.Method, r.URL.Path)})
	})
	return mux
}

// serve runs one query and writes its answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, query func(context.Context, *http.Request) (promql.Query, error)) {
	ctx := r.Context()
	if t := r.FormValue("timeout"); t != "" {
		d, err := duration("timeout", t)
		if err != nil {
			s.refuse(w, err)
			return
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	q, err := query(ctx, r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	// The result's memory is the query's: it is written out before Close.
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		s.refuse(w, executed(res.Err))
		return
	}
	found := data{Type: res.Value.Type(), Result: present(res.Value)}
	if r.FormValue("stats") != "" {
		found.Stats = stats.NewQueryStats(q.Stats())
	}
	warnings, infos := texts(res.Warnings, r.FormValue("query"))
	s.write(w, http.StatusOK, answer{Status: "success", Data: found, Warnings: warnings, Infos: infos})
}

func (s *Server) instant(ctx context.Context, r *http.Request) (promql.Query, error) {
	at := time.Now()
	if v := r.FormValue("time"); v != "" {
		var err error
		if at, err = instant("time", v); err != nil {
			return nil, err
		}
	}
	q, err := s.engine.NewInstantQuery(ctx, s.db, nil, r.FormValue("query"), at)
	return q, parsed(err)
}

func (s *Server) span(ctx context.Context, r *http.Request) (promql.Query, error) {
	start, err := instant("start", r.FormValue("start"))
	if err != nil {
		return nil, err
	}
	end, err := instant("end", r.FormValue("end"))
	if err != nil {
		return nil, err
	}
	step, err := duration("step", r.FormValue("step"))
	switch {
	case err != nil:
		return nil, err
	case end.Before(start):
		return nil, parameter("end", errors.New("end timestamp must not be before start time"))
	case step <= 0:
		return nil, parameter("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	case end.Sub(start)/step > maxPoints:
		return nil, parameter("step", errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"))
	}
	q, err := s.engine.NewRangeQuery(ctx, s.db, nil, r.FormValue("query"), start, end, step)
	return q, parsed(err)
}

// refuse answers with err and the status code of its kind.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	kind := "internal"
	var f *fault
	if errors.As(err, &f) {
		kind = f.kind
	}
	s.write(w, faultCodes[kind], answer{Status: "error", ErrorType: kind, Error: err.Error()})
}

func (s *Server) write(w http.ResponseWriter, code int, a answer) {
	b, err := json.Marshal(a)
	if err != nil {
		s.log.Error("encode answer", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := w.Write(b); err != nil {
		s.log.Debug("the client went away during its answer", "err", err)
	}
}

// executed names the kind of an error met while a query ran.
func executed(err error) error {
	var canceled promql.ErrQueryCanceled
	var late promql.ErrQueryTimeout
	var storage promql.ErrStorage
	switch {
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		return &fault{"canceled", err}
	case errors.As(err, &late):
		return &fault{"timeout", err}
	case errors.As(err, &storage):
		return &fault{"internal", err}
	}
	return &fault{"execution", err}
}

func parsed(err error) error {
	if err == nil {
		return nil
	}
	return parameter("query", err)
}

func parameter(name string, err error) error {
	return &fault{"bad_data", fmt.Errorf("invalid parameter %q: %w", name, err)}
}

// present gives an empty result the JSON [] where Go's nil would say null.
func present(v parser.Value) parser.Value {
	switch v := v.(type) {
	case promql.Vector:
		if v == nil {
			return promql.Vector{}
		}
	case promql.Matrix:
		if v == nil {
			return promql.Matrix{}
		}
	}
	return v
}

func texts(a annotations.Annotations, query string) (warnings, infos []string) {
	return a.AsStrings(query, maxAnnotations, maxAnnotations)
}

// instant reads a parameter that is Unix seconds, fractions allowed, or RFC 3339. Like Prometheus it keeps milliseconds.
func instant(name, v string) (time.Time, error) {
	if f, err := strconv.ParseFloat(v, 64); err == nil {
		whole, frac := math.Modf(f)
		if math.IsNaN(f) || math.Abs(whole) > math.MaxInt64/1000 {
			return time.Time{}, parameter(name, fmt.Errorf("cannot parse %q to a valid timestamp", v))
		}
		return time.Unix(int64(whole), int64(math.Round(frac*1000))*int64(time.Millisecond)).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return t, nil
	}
	return time.Time{}, parameter(name, fmt.Errorf("cannot parse %q to a valid timestamp", v))
}

// duration reads a parameter that is seconds, fractions allowed, or a Prometheus duration such as 1m30s.
func duration(name, v string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(v, 64); err == nil {
		ns := f * float64(time.Second)
		if math.IsNaN(ns) || math.Abs(ns) >= math.MaxInt64 {
			return 0, parameter(name, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", v))
		}
		return time.Duration(ns), nil
	}
	if d, err := model.ParseDuration(v); err == nil {
		return time.Duration(d), nil
	}
	return 0, parameter(name, fmt.Errorf("cannot parse %q to a valid duration", v))
}
