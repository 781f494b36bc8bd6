package apikeyui_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// TestAtOnce: of one form that is sent many times at once one is answered with
// a token, and one token was made.
func TestAtOnce(t *testing.T) {
	for _, test := range issuing {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s, _, form := asked(t, test.dialog)
			values, to := form.form(test.dialog)
			values.Set(test.values[0], test.values[1])
			before := counted(t, s)
			codes := make(chan int, 8)
			var sent sync.WaitGroup
			for range cap(codes) {
				sent.Go(func() { codes <- s.browser(t, "ada").do(http.MethodPost, to.String(), values).Code })
			}
			sent.Wait()
			close(codes)
			counts := map[int]int{}
			for code := range codes {
				counts[code]++
			}
			is.Equal(counts, map[int]int{200: 1, 409: 7})
			is.Equal(counted(t, s), before+1)
		})
	}
}

// TestExpiresSoon: inside of 30 days the end of a key is marked.
func TestExpiresSoon(t *testing.T) {
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine", Lifetime: apikey.Period{Time: 40 * 24 * time.Hour}}).Key
	marks := func() (class, status string) {
		for _, n := range s.browser(t, "ada").open("key/" + key.ID).root.all("dd") {
			if c := n.attr["class"]; c != "" {
				class = c
			}
		}
		for _, n := range s.browser(t, "ada").open("").root.all("span") {
			if c := n.attr["class"]; len(c) > 7 && c[:7] == "status " {
				status = c[7:]
			}
		}
		return class, status
	}
	for _, step := range []struct {
		name          string
		advance       time.Duration
		class, status string
	}{
		{"40 days before", 0, "", ""}, // the slider says that it is active
		{"30 days before", 10 * 24 * time.Hour, "", ""},
		{"a microsecond later", time.Microsecond, "soon", "soon"},
		{"at its end", 30*24*time.Hour - time.Microsecond, "bad", "expired"},
	} {
		s.keys.Advance(step.advance)
		if class, status := marks(); class != step.class || status != step.status {
			t.Errorf("%s: %q and %q", step.name, class, status)
		}
	}
}
