package shop

import (
	"fmt"
	"net/http"
	"strconv"
)

// fault makes a share of requests fail, evenly spread. The zero value is none.
type fault struct {
	share float64 // of requests that fail, in [0, 1]
	debt  float64 // failures owed; a request fails when it has reached 1
}

func faulty(share float64) fault { return fault{share: min(max(share, 0), 1)} }

// strikes counts a request and says whether it fails.
func (f *fault) strikes() bool {
	f.debt += f.share
	if f.debt < 1 {
		return false
	}
	f.debt--
	return true
}

// shareOf reads the share that a request to break something asks for: all of it, unless it says otherwise. Where it is none, ok is
// false, and the request is answered.
func shareOf(w http.ResponseWriter, r *http.Request) (share float64, ok bool) {
	v := r.FormValue("share")
	if v == "" {
		return 1, true
	}
	share, err := strconv.ParseFloat(v, 64)
	if err != nil || !(share >= 0 && share <= 1) {
		http.Error(w, fmt.Sprintf("share=%q is not a number from 0 to 1", v), http.StatusBadRequest)
		return 0, false
	}
	return share, true
}

// deploy is a bad one of an instance: a share of its pages fail, whatever the mode. It serves POST /break?share=0.5 and POST /mend.
func (s *Shop) deploy(mux *http.ServeMux) {
	mux.HandleFunc("POST /break", func(w http.ResponseWriter, r *http.Request) {
		if share, ok := shareOf(w, r); ok {
			s.Break(share)
			_, _ = fmt.Fprintf(w, "%g of the pages of %s fail from now on\n", share, s.name) // the caller may be gone
		}
	})
	mux.HandleFunc("POST /mend", func(w http.ResponseWriter, _ *http.Request) {
		s.Mend()
		_, _ = fmt.Fprintf(w, "%s is mended\n", s.name) // the caller may be gone
	})
}

// Break makes a share of the instance's pages fail from now on, in whatever mode, as after a bad deploy; share is in [0, 1].
func (s *Shop) Break(share float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = faulty(share)
}

// Mend ends a Break.
func (s *Shop) Mend() { s.Break(0) }

// deployed lets a bad deploy answer in place of h.
func (s *Shop) deployed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		strikes := s.fault.strikes()
		s.mu.Unlock()
		if strikes {
			http.Error(w, "broken on purpose", http.StatusInternalServerError)
			return
		}
		h.ServeHTTP(w, r)
	})
}
