package apitest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"
	"github.com/oapi-codegen/nullable"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/internal/apitest"
)

// site is a host on a port: its routes for tokens, and the API for its owners.
type site struct {
	*apikeytest.Manager
	client    *apitest.ClientWithResponses
	transport *validating
	url       string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{Manager: apikeytest.New(t, func(o *apikey.Options) {
		o.ReissueLimit = &apikey.ReissueLimit{N: 4, Window: 24 * time.Hour}
	})}
	api := apikeyhttp.API(s.Manager.Manager, &apikeyhttp.APIOptions{
		Owner: func(r *http.Request) (string, string, error) { return r.Header.Get("Session"), "", nil },
		OwnerOptions: func(*http.Request, string) (*apikey.OwnerOptions, error) {
			return &apikey.OwnerOptions{Scopes: []string{"orders:*"}}, nil
		},
	})
	mux := http.NewServeMux()
	mux.Handle("/v1/account/", http.StripPrefix("/v1/account", api))
	guard, err := apikeyhttp.New(s.Manager, nil)
	must(t, err)
	mux.Handle("/orders", guard.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	s.transport = newValidating(t, server.URL+"/v1/account/openapi.json", server.Client().Transport)
	s.client, err = apitest.NewClientWithResponses(server.URL+"/v1/account", apitest.WithHTTPClient(&http.Client{Transport: s.transport}),
		apitest.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Session", "ada")
			return nil
		}))
	must(t, err)
	return s
}

// accepted are the answers to tokens at a route behind Authenticate.
func (s *site) accepted(t *testing.T, tokens ...string) (statuses []int) {
	t.Helper()
	for _, token := range tokens {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/orders", nil)
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		got, err := http.DefaultClient.Do(r)
		must(t, err)
		got.Body.Close()
		statuses = append(statuses, got.StatusCode)
	}
	return statuses
}

// TestLife leads a key through its whole life with the generated client.
// Every request and every answer is held against the document.
func TestLife(t *testing.T) {
	is := is.New(t)
	s, ctx := newSite(t), t.Context()

	// Issue, twice with one Idempotency-Key.
	body := apitest.IssueRequest{Name: "billing", Scopes: nullable.NewNullableWithValue([]string{"orders:read"}), Networks: nullable.NewNullableWithValue([]string{"127.0.0.0/8", "::1"}), Reason: nullable.NewNullableWithValue("first")}
	issued, err := s.client.IssueKeyWithResponse(ctx, &apitest.IssueKeyParams{IdempotencyKey: new(`"8e03978e-40d5"`)}, body)
	must(t, err)
	is.Equal(issued.StatusCode(), 201)
	first, id := issued.JSON201.Token, issued.JSON201.Key.Id
	is.Equal(first, issued.JSON201.AccessKey+"_"+issued.JSON201.AccessSecret)
	is.Equal(*issued.Headers201.Location, "keys/"+id)
	is.Equal(s.accepted(t, first), []int{200})
	repeat, err := s.client.IssueKeyWithResponse(ctx, &apitest.IssueKeyParams{IdempotencyKey: new(`"8e03978e-40d5"`)}, body)
	must(t, err)
	is.Equal(repeat.StatusCode(), 409)
	is.Equal(repeat.ApplicationproblemJSON409.Code, "exists")
	is.Equal(*repeat.ApplicationproblemJSON409.KeyId, id)

	// Get, and list page by page.
	got, err := s.client.GetKeyWithResponse(ctx, id, nil)
	must(t, err)
	is.Equal(cmp.Diff(*got.JSON200, issued.JSON201.Key), "")
	is.Equal(*got.Headers200.ETag, `"1"`)
	unchanged, err := s.client.GetKeyWithResponse(ctx, id, &apitest.GetKeyParams{IfNoneMatch: got.Headers200.ETag})
	must(t, err)
	is.Equal(unchanged.StatusCode(), 304)
	is.Equal(*unchanged.Headers304.ETag, `"1"`)
	want := []string{id}
	for range 4 {
		other, err := s.client.IssueKeyWithResponse(ctx, nil, apitest.IssueRequest{Name: "other", LifetimeSeconds: nullable.NewNullableWithValue(int64(3600))})
		must(t, err)
		want = append(want, other.JSON201.Key.Id)
	}
	slices.Sort(want)
	var ids []string
	for params := (&apitest.ListKeysParams{Limit: new(2)}); params != nil; {
		page, err := s.client.ListKeysWithResponse(ctx, params)
		must(t, err)
		for _, key := range page.JSON200.Keys {
			ids = append(ids, key.Id)
		}
		params.After = page.JSON200.Next
		if page.JSON200.Next == nil {
			params = nil
		}
	}
	is.Equal(ids, want)

	// Update in three states: scopes set, networks cleared, the name left.
	updated, err := s.client.UpdateKeyWithResponse(ctx, id, &apitest.UpdateKeyParams{IfMatch: got.Headers200.ETag}, apitest.UpdateRequest{
		Scopes: nullable.NewNullableWithValue([]string{"orders:write"}), Networks: nullable.NewNullNullable[[]string](),
	})
	must(t, err)
	is.Equal(updated.JSON200.Name, "billing")
	is.Equal(updated.JSON200.Scopes, []string{"orders:write"})
	is.Equal(updated.JSON200.Networks, []string{})
	is.Equal(s.accepted(t, first), []int{200})

	// A stale If-Match changes nothing.
	stale, err := s.client.DeleteKeyWithResponse(ctx, id, &apitest.DeleteKeyParams{IfMatch: got.Headers200.ETag})
	must(t, err)
	is.Equal(stale.StatusCode(), 412)
	is.Equal(stale.ApplicationproblemJSON412.Code, "conflict")
	is.Equal(s.accepted(t, first), []int{200})

	// Disable, enable.
	disabled, err := s.client.DisableKeyWithResponse(ctx, id, &apitest.DisableKeyParams{IfMatch: updated.Headers200.ETag}, apitest.ReasonRequest{Reason: nullable.NewNullableWithValue("holidays")})
	must(t, err)
	is.Equal(disabled.JSON200.Status, apitest.KeyStatus("disabled"))
	is.Equal(*disabled.JSON200.DisabledReason, "holidays")
	is.Equal(s.accepted(t, first), []int{401})
	enabled, err := s.client.EnableKeyWithResponse(ctx, id, nil, apitest.ReasonRequest{})
	must(t, err)
	is.Equal(enabled.JSON200.Status, apitest.KeyStatus("active"))
	is.Equal(s.accepted(t, first), []int{200})

	// Rotate, extend, finish.
	rotated, err := s.client.RotateKeyWithResponse(ctx, id, nil, apitest.OverlapRequest{OverlapSeconds: 60})
	must(t, err)
	second := rotated.JSON200.Token
	is.True(rotated.JSON200.Key.Rotating)
	is.Equal(s.accepted(t, first, second), []int{200, 200})
	extended, err := s.client.ExtendRotationWithResponse(ctx, id, nil, apitest.OverlapRequest{OverlapSeconds: 120})
	must(t, err)
	is.Equal(extended.JSON200.RetiringUntil.Sub(*rotated.JSON200.Key.RetiringUntil), time.Minute)
	s.Advance(90 * time.Second)
	is.Equal(s.accepted(t, first, second), []int{200, 200})
	must(t, s.Flush(ctx))
	credentials, err := s.client.ListCredentialsWithResponse(ctx, id, nil)
	must(t, err)
	is.Equal(len(credentials.JSON200.Credentials), 2)
	is.True(credentials.JSON200.Credentials[0].LastUsedAt != nil)
	finished, err := s.client.FinishRotationWithResponse(ctx, id, nil, apitest.ReasonRequest{})
	must(t, err)
	is.True(!finished.JSON200.Rotating)
	is.Equal(s.accepted(t, first, second), []int{401, 200})
	again, err := s.client.FinishRotationWithResponse(ctx, id, nil, apitest.ReasonRequest{})
	must(t, err)
	is.Equal(again.ApplicationproblemJSON409.Code, "not_rotating")

	// Regenerate, until it is too often.
	regenerated, err := s.client.RegenerateKeyWithResponse(ctx, id, &apitest.RegenerateKeyParams{IfMatch: finished.Headers200.ETag}, apitest.ReasonRequest{Reason: nullable.NewNullableWithValue("laptop lost")})
	must(t, err)
	third := regenerated.JSON200.Token
	is.Equal(s.accepted(t, first, second, third), []int{401, 401, 200})
	_, err = s.client.RegenerateKeyWithResponse(ctx, id, nil, apitest.ReasonRequest{})
	must(t, err)
	soon, err := s.client.RegenerateKeyWithResponse(ctx, id, nil, apitest.ReasonRequest{})
	must(t, err)
	is.Equal(soon.ApplicationproblemJSON429.Code, "too_soon")
	is.Equal(*soon.Headers429.RetryAfter, 24*3600-90)

	// Delete, and what is left.
	deleted, err := s.client.DeleteKeyWithResponse(ctx, id, &apitest.DeleteKeyParams{Reason: new("not needed")})
	must(t, err)
	is.Equal(deleted.JSON200.Status, apitest.KeyStatus("deleted"))
	is.Equal(s.accepted(t, first, second, third), []int{401, 401, 401})
	gone, err := s.client.EnableKeyWithResponse(ctx, id, nil, apitest.ReasonRequest{})
	must(t, err)
	is.Equal(gone.ApplicationproblemJSON409.Code, "deleted")
	page, err := s.client.ListKeysWithResponse(ctx, &apitest.ListKeysParams{Deleted: new(true)})
	must(t, err)
	is.Equal(len(page.JSON200.Keys), 5)
	var kinds []string
	for after := (*string)(nil); ; {
		page, err := s.client.ListEventsWithResponse(ctx, id, &apitest.ListEventsParams{After: after, Limit: new(4)})
		must(t, err)
		for _, event := range page.JSON200.Events {
			kinds = append(kinds, event.Kind)
		}
		if after = page.JSON200.Next; after == nil {
			break
		}
	}
	slices.Reverse(kinds)
	is.Equal(kinds, []string{
		"key.issued", "key.updated", "key.disabled", "key.enabled", "key.rotated", "key.rotation_extended", "key.rotation_finished",
		"key.regenerated", "key.regenerated", "key.deleted",
	})
	document, err := s.client.GetDocumentWithResponse(ctx, nil)
	must(t, err)
	is.Equal(document.StatusCode(), 200)
	s.checkOptions(t, id)

	// Every operation of the document was among the calls.
	for name, seen := range s.transport.operations() {
		if !seen {
			t.Errorf("%s was not called", name)
		}
	}
}

// checkOptions asks each path what it allows.
func (s *site) checkOptions(t *testing.T, id string) {
	t.Helper()
	is, ctx := is.New(t), t.Context()
	key, err := s.client.OptionsKeyWithResponse(ctx, id, nil)
	must(t, err)
	is.Equal(*key.Headers204.AcceptPatch, "application/json")
	is.Equal(*key.Headers204.Allow, "DELETE, GET, HEAD, OPTIONS, PATCH")
	for name := range s.transport.operations() {
		method, path, _ := strings.Cut(name, " ")
		if method != http.MethodOptions {
			continue
		}
		r, err := http.NewRequestWithContext(ctx, method, s.url+"/v1/account"+strings.Replace(path, "{id}", id, 1), nil)
		must(t, err)
		got, err := s.transport.RoundTrip(r)
		must(t, err)
		is.Equal(got.StatusCode, 204)
	}
}

// TestLimits sends requests at the limits that the document states. It must
// accept all that the API accepts; where it counts in characters, it accepts
// more.
func TestLimits(t *testing.T) {
	is := is.New(t)
	s, ctx := newSite(t), t.Context()
	issue := func(body apitest.IssueRequest, idempotencyKey *string) int {
		got, err := s.client.IssueKeyWithResponse(ctx, &apitest.IssueKeyParams{IdempotencyKey: idempotencyKey}, body)
		must(t, err)
		return got.StatusCode()
	}
	scopes := make([]string, 100)
	for i := range scopes {
		scopes[i] = "orders:" + strings.Repeat("x", 90) + strconv.Itoa(100+i)
	}
	value := nullable.NewNullableWithValue[string]
	for _, body := range []apitest.IssueRequest{
		{Name: strings.Repeat("x", 200), Reason: value(strings.Repeat("x", 500))},
		{Name: strings.Repeat("\u20ac", 66) + "xx", Reason: value(strings.Repeat("\U0001f600", 125))},
		{Name: strings.Repeat("1\ufe0f", 200), Reason: value(strings.Repeat("\ufe0f", 600))},
		{Name: "x", Scopes: nullable.NewNullableWithValue(scopes)},
		{Name: "x", Scopes: nullable.NewNullableWithValue([]string{"orders:*", "orders:!#[]~"})},
		{Name: "x", Scopes: nullable.NewNullNullable[[]string](), Networks: nullable.NewNullNullable[[]string](), Reason: nullable.NewNullNullable[string](),
			ExpiresAt: nullable.NewNullNullable[time.Time](), LifetimeSeconds: nullable.NewNullNullable[int64]()},
	} {
		is.Equal(issue(body, nil), 201)
	}
	for _, key := range []string{strings.Repeat("x", 255), `"` + strings.Repeat(`\"`, 255) + `"`, `"a b,c;d"`, "!#$%&'()*+-./:<=>?@[]^_`{|}~"} {
		is.Equal(issue(apitest.IssueRequest{Name: "x"}, &key), 201)
	}
	for _, body := range []apitest.IssueRequest{{Name: strings.Repeat("\u20ac", 67)}, {Name: "x", Reason: value(strings.Repeat("\U0001f600", 126))}} {
		is.Equal(issue(body, nil), 400)
	}
	id := s.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key.ID
	for _, tags := range []string{`"1"`, ` W/"2" , "1"`, `, ,"1",,`, `"!#~ÿ"`, "*"} {
		got, err := s.client.GetKeyWithResponse(ctx, id, &apitest.GetKeyParams{IfMatch: &tags})
		must(t, err)
		is.True(got.StatusCode() == 200 || got.StatusCode() == 412)
	}
}

// TestRefusals holds what goes wrong against the document.
func TestRefusals(t *testing.T) {
	is := is.New(t)
	s, ctx := newSite(t), t.Context()
	none, err := s.client.GetKeyWithResponse(ctx, "00000000000000000000", nil)
	must(t, err)
	is.Equal(none.ApplicationproblemJSON404.Code, "not_found")
	issue := func(owner string, body apitest.IssueRequest) *apitest.IssueKeyResponse {
		got, err := s.client.IssueKeyWithResponse(ctx, nil, body, func(_ context.Context, r *http.Request) error {
			r.Header.Set("Session", owner)
			return nil
		})
		must(t, err)
		return got
	}
	is.Equal(issue("", apitest.IssueRequest{Name: "a"}).ApplicationproblemJSON403.Code, "forbidden")
	is.Equal(issue("ada", apitest.IssueRequest{Name: "a", Scopes: nullable.NewNullableWithValue([]string{"users:read"})}).ApplicationproblemJSON403.Code, "scope_not_allowed")
	is.Equal(*issue("ada", apitest.IssueRequest{Name: " a"}).ApplicationproblemJSON400.Field, "name")
	s.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Forever: true})
	unknown := issue("ada", apitest.IssueRequest{Name: "a"})
	is.Equal(unknown.ApplicationproblemJSON503.Code, "outcome_unknown")
	is.True(*unknown.ApplicationproblemJSON503.Token != "")
	s.Store.Fail(apikeytest.Failure{Forever: true})
	down := issue("ada", apitest.IssueRequest{Name: "a"})
	is.Equal(down.ApplicationproblemJSON503.Code, "unavailable")
	is.Equal(*down.Headers503.RetryAfter, 1)
	s.Store.Recover()

	// Requests that the document forbids are refused, in a way that it allows.
	s.transport.loose = true
	for _, body := range []string{`{"nam":"a"}`, `{"name":1}`, `{"name":null}`, `{"name":"a","scopes":[null]}`, `{"name":"a","lifetime_seconds":0}`, `{}`, `[]`, ``} {
		before := s.transport.refused
		got, err := s.client.IssueKeyWithBodyWithResponse(ctx, nil, "application/json", bodyOf(body))
		must(t, err)
		is.Equal(got.StatusCode(), 400)
		is.Equal(s.transport.refused, before+1) // by the validator too
	}
	form, err := s.client.IssueKeyWithBodyWithResponse(ctx, nil, "text/plain", bodyOf(`{"name":"a"}`))
	must(t, err)
	is.Equal(form.ApplicationproblemJSON415.Code, "unsupported_media_type")
}
