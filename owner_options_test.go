package apikey_test

import (
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// TestOwnerOptionsFollowNewKeys checks that an owner that deletes a key and
// issues a new one has the rate and metadata again.
func TestOwnerOptionsFollowNewKeys(t *testing.T) {
	is := is.New(t)
	m, _, _ := newManager(t, apikey.Options{})
	ctx := t.Context()
	options := &apikey.OwnerOptions{
		Scopes: []string{"orders:*"}, Rate: apikey.Rate{Requests: 3, Period: time.Minute}, Metadata: map[string]string{"plan": "small"},
	}
	rate := options.Rate
	o := m.ForOwner("acme", options)
	options.Scopes[0], options.Rate, options.Metadata["plan"] = "admin:*", apikey.Rate{}, "large" // the options were copied
	for range 2 {
		issued, err := o.Issue(ctx, apikey.IssueParams{Name: "x", Scopes: []string{"orders:read"}})
		is.NoErr(err)
		is.Equal(issued.Key.Rate, rate)
		is.Equal(issued.Key.Metadata.Map(), map[string]string{"plan": "small"})
		_, err = o.Delete(ctx, issued.Key.ID)
		is.NoErr(err)
	}
	// A form that sends the same values back is accepted, others are not.
	_, err := o.Issue(ctx, apikey.IssueParams{Name: "x", Rate: rate, Metadata: map[string]string{"plan": "small"}})
	is.NoErr(err)
	_, err = o.Issue(ctx, apikey.IssueParams{Name: "x", Rate: apikey.Rate{Requests: 4, Period: time.Minute}})
	is.True(errors.Is(err, apikey.ErrForbidden))
	_, err = o.Issue(ctx, apikey.IssueParams{Name: "x", Metadata: map[string]string{"plan": "large"}})
	is.True(errors.Is(err, apikey.ErrForbidden))
}

func TestBadOwnerOptions(t *testing.T) {
	m, _, _ := newManager(t, apikey.Options{})
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	for field, bad := range map[string]apikey.OwnerOptions{
		"scopes":   {Scopes: []string{"a b"}},
		"rate":     {Rate: apikey.Rate{Requests: -1}},
		"metadata": {Metadata: map[string]string{"": "x"}},
	} {
		o := m.ForOwner("acme", &bad)
		var f *apikey.FieldError
		if _, err := o.Get(t.Context(), id); !errors.As(err, &f) || f.Field != field {
			t.Errorf("%s: get: %v", field, err)
		}
		if _, err := o.Issue(t.Context(), apikey.IssueParams{Name: "x"}); !errors.As(err, &f) || f.Field != field {
			t.Errorf("%s: issue: %v", field, err)
		}
		if _, err := o.Delete(t.Context(), id); !errors.As(err, &f) || f.Field != field {
			t.Errorf("%s: delete: %v", field, err)
		}
	}
}
