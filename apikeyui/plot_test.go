package apikeyui_test

import (
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

func TestPlot(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	issued := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"})
	ada := s.browser(t, "ada")
	show := func() *page { return ada.open("key/" + issued.Key.ID) }
	is.True(show().has("No uses in these days."))

	use := func(token apikey.Secret, times int) {
		t.Helper()
		for range times {
			is.NoErr(s.validate(t, token.Reveal()))
		}
		is.NoErr(s.keys.Flush(t.Context()))
	}
	use(issued.Token, 1) // 1 January: too old, when it is looked at
	s.keys.Advance(10 * 24 * time.Hour)
	use(issued.Token, 1000)
	s.keys.Advance(80 * 24 * time.Hour) // 1 April
	use(issued.Token, 5)
	rotated, err := s.keys.Rotate(t.Context(), issued.Key.ID, 7*24*time.Hour)
	is.NoErr(err)
	s.keys.Advance(24 * time.Hour)
	use(issued.Token, 2)
	use(rotated.Token, 498)

	p := show()
	is.True(p.has("In all: 1,505. The busiest day was 11 Jan 2026: 1,000."))
	is.True(p.has("Uses since the start of 1 Apr 20267")) // of the old access key, with all of that day
	var all, old []*node
	for _, n := range p.root.all("rect") {
		if n.attr["class"] == "bar" {
			all = append(all, n)
		} else {
			old = append(old, n)
		}
	}
	is.Equal(len(all), 90)
	is.Equal(all[89].attr["height"], "60") // 500 of 1,000, of 120
	is.Equal(all[89].attr["y"], "60")
	is.Equal(all[88].attr["height"], "3") // 5 of 1,000 can be seen
	is.Equal(all[50].attr["height"], "0")
	is.Equal(old[len(old)-1].attr["height"], "3")
	is.Equal(old[len(old)-1].attr["y"], "117") // at the foot
	rows := p.root.all("tbody")[0].all("tr")
	is.Equal(len(rows), 3)
	is.Equal(rows[0].content(), "2 Apr 20265002")
	is.Equal(len(old), 2) // before the rotation it was the only one
	is.Equal(p.root.all("svg")[0].attr["role"], "img")

	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.DailyUsage})
	is.Equal(show().status, 503)
}

// TestPlotOfALongRotation: what is drawn of it says from when on.
func TestPlotOfALongRotation(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	issued := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"})
	_, err := s.keys.Rotate(t.Context(), issued.Key.ID, 180*24*time.Hour)
	is.NoErr(err)
	for _, wait := range []time.Duration{time.Minute, 50 * 24 * time.Hour, 50 * 24 * time.Hour} {
		s.keys.Advance(wait)
		is.NoErr(s.validate(t, issued.Token.Reveal()))
		is.NoErr(s.keys.Flush(t.Context()))
	}
	is.True(s.browser(t, "ada").open("key/" + issued.Key.ID).has("Uses since the start of 12 Jan 20262")) // of 3
}

// TestPlotOfTheDay: what the old access key did on the day of the rotation,
// but before it, is not told as if it was in use.
func TestPlotOfTheDay(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	issued := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"})
	is.NoErr(s.validate(t, issued.Token.Reveal()))
	is.NoErr(s.keys.Flush(t.Context()))
	s.keys.Advance(time.Hour)
	_, err := s.keys.Rotate(t.Context(), issued.Key.ID, 24*time.Hour)
	is.NoErr(err)
	p := s.browser(t, "ada").open("key/" + issued.Key.ID)
	is.True(p.has("has not been used since the rotation"))
	is.True(!p.has("Uses since"))
}

// keyID returns the id of the only key of ada's.
func keyID(t *testing.T, s *site) string {
	t.Helper()
	keys, err := s.keys.List(t.Context(), apikey.Query{Owner: "ada"})
	if err != nil || len(keys) != 1 {
		t.Fatal(err, len(keys))
	}
	return keys[0].ID
}
