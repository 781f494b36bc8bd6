package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// countingStore counts Lookups and fails them on demand.
type countingStore struct {
	apikey.Store
	lookups int
	err     error
}

func (s *countingStore) Lookup(ctx context.Context, id string) (apikey.LookupResult, error) {
	s.lookups++
	if s.err != nil {
		return apikey.LookupResult{}, s.err
	}
	m, err := s.Store.Lookup(ctx, id)
	return m, wordy(err)
}

func (s *countingStore) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	r, err := s.Store.Get(ctx, id, owner)
	return r, wordy(err)
}

// wordy says more than it should, as stores do.
func wordy(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("no row in table keys: %w", err)
}

// newManager returns a Manager on memstore whose clock stands at start.
func newManager(t testing.TB, options apikey.Options) (*apikey.Manager, *countingStore, *clock.Mock) {
	t.Helper()
	store := &countingStore{Store: memstore.New()}
	mock := clock.NewMock()
	mock.Set(start)
	options.Now = mock.Now
	if options.Peppers == nil {
		options.Peppers = []apikey.Secret{apikey.NoPepper()}
	}
	m, err := apikey.New(store, &options)
	if err != nil {
		t.Fatal(err)
	}
	return m, store, mock
}

func issue(t testing.TB, m *apikey.Manager, p apikey.IssueParams, opts ...apikey.ChangeOption) apikey.Issued {
	t.Helper()
	if p.Owner == "" {
		p.Owner = "acme"
	}
	if p.Name == "" {
		p.Name = "test"
	}
	issued, err := m.Issue(t.Context(), p, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func TestValidateReturnsTheKeyThatWasPresented(t *testing.T) {
	is := is.New(t)
	m, _, mock := newManager(t, apikey.Options{})
	old := issue(t, m, apikey.IssueParams{
		Scopes: []string{"orders:*"}, Rate: apikey.Rate{Requests: 5, Period: time.Second},
		Metadata: map[string]string{"team": "a"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	from := apikey.From(netip.MustParseAddr("192.0.2.1"))
	got, err := m.Validate(t.Context(), old.Token.Reveal(), from)
	is.NoErr(err)
	if diff := cmp.Diff(old.Key, got); diff != "" {
		t.Errorf("validated and issued key differ:\n%s", diff)
	}

	mock.Add(time.Hour)
	fresh, err := m.Rotate(t.Context(), old.Key.ID, time.Hour)
	is.NoErr(err)
	got, err = m.Validate(t.Context(), old.Token.Reveal(), from)
	is.NoErr(err)
	is.Equal(got.AccessKey(), old.AccessKey())
	is.Equal(got.ExpiresAt, mock.Now().Add(time.Hour)) // its own end, not its successor's
	is.Equal(got.IssuedAt, start)
	is.Equal(got.Revision, int64(2))
	got, err = m.Validate(t.Context(), fresh.Token.Reveal(), from)
	is.NoErr(err)
	is.Equal(got.AccessKey(), fresh.AccessKey())
	is.Equal(fresh.Token.Reveal(), fresh.AccessKey()+"_"+fresh.AccessSecret().Reveal())
}

// TestRefusals makes a key that is refused for every reason at once and mends
// one after the other: the order in which they are told.
func TestRefusals(t *testing.T) {
	is := is.New(t)
	m, store, mock := newManager(t, apikey.Options{})
	ctx := t.Context()
	issued := issue(t, m, apikey.IssueParams{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Lifetime: apikey.Period{Time: time.Hour}})
	id := issued.Key.ID
	good, err := store.Get(ctx, id, "")
	is.NoErr(err)
	mock.Add(2 * time.Hour)
	_, err = m.Disable(ctx, id)
	is.NoErr(err)
	_, err = m.Regenerate(ctx, id)
	is.NoErr(err)
	_, err = m.Disable(ctx, id)
	is.NoErr(err)
	_, err = m.DisableOwner(ctx, "acme")
	is.NoErr(err)
	_, err = m.Delete(ctx, id)
	is.NoErr(err)

	token := issued.Token.Reveal()
	needs := []apikey.Requirement{apikey.Scope("a"), apikey.From(netip.MustParseAddr("198.51.100.1"))}
	refuse := func(want error) {
		t.Helper()
		key, err := m.Validate(ctx, token, needs...)
		if err != want {
			t.Errorf("refused with %v, want %v", err, want)
		}
		if diff := cmp.Diff(apikey.Key{}, key); diff != "" {
			t.Errorf("a key with a refusal:\n%s", diff)
		}
	}
	rewrite := func(change func(*apikey.Record)) {
		t.Helper()
		r, err := store.Get(ctx, id, "")
		is.NoErr(err)
		change(&r)
		_, err = store.Commit(ctx, apikey.Commit{Records: []apikey.Record{r}, Events: []apikey.Event{{At: start, Kind: "test", KeyID: id}}})
		is.NoErr(err)
	}
	refuse(apikey.ErrDeleted)
	rewrite(func(r *apikey.Record) { r.Key.DeletedAt = time.Time{} })
	refuse(apikey.ErrReplaced)
	rewrite(func(r *apikey.Record) {
		r.Key.CredentialID, r.Key.ExpiresAt = good.Key.CredentialID, good.Key.ExpiresAt
	})
	refuse(apikey.ErrOwnerDisabled)
	_, err = m.EnableOwner(ctx, "acme")
	is.NoErr(err)
	refuse(apikey.ErrDisabled)
	rewrite(func(r *apikey.Record) { r.Key.DisabledAt = time.Time{} })
	refuse(apikey.ErrExpired)
	mock.Set(start)
	refuse(apikey.ErrAddress)
	needs[1] = apikey.From(netip.MustParseAddr("192.0.2.9"))
	refuse(apikey.ErrScope)
	needs = needs[1:]
	_, err = m.Validate(ctx, token, needs...)
	is.NoErr(err)
}

func TestUnearnedRefusalsAreOne(t *testing.T) {
	is := is.New(t)
	m, store, _ := newManager(t, apikey.Options{})
	issued := issue(t, m, apikey.IssueParams{})
	_, err := m.Disable(t.Context(), issued.Key.ID)
	is.NoErr(err)
	other, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	is.NoErr(err)
	unknown := issue(t, other, apikey.IssueParams{}).Token.Reveal()
	wrong := apikey.Issued{}
	for wrong.Token.IsZero() { // a good token of another key under the first one's access key
		wrong = issue(t, m, apikey.IssueParams{})
	}
	live := issued.Token.Reveal()

	store.lookups = 0
	for _, text := range []string{
		"", " ", "ak", live[:len(live)-1], live + "x", live[:len(live)-1] + flip(live[len(live)-1]), "Bearer " + live,
		strings.Repeat("a", 10<<10), "\x00", "\xff\xfe", "ak_\r\n", strings.Replace(live, "ak_", "аk_", 1), strings.ToUpper(live),
	} {
		_, err := m.Validate(t.Context(), text)
		is.Equal(err, apikey.ErrInvalid) // a text that is no token
	}
	is.Equal(store.lookups, 0)

	_, err = m.Validate(t.Context(), unknown)
	is.Equal(err, apikey.ErrInvalid)
	_, err = m.Validate(t.Context(), withSecret(live, wrong.Token.Reveal()))
	is.Equal(err, apikey.ErrInvalid)
	is.Equal(store.lookups, 2)
	_, err = m.Validate(t.Context(), live)
	is.Equal(err, apikey.ErrDisabled) // earned
}

func flip(c byte) string {
	if c == 'a' {
		return "b"
	}
	return "a"
}

// withSecret returns the token's access key with the secret of another.
func withSecret(token, other string) string {
	return retoken(token[:len(token)-38] + other[len(other)-38:len(other)-6])
}

func TestValidateTellsTroubleFromRefusal(t *testing.T) {
	is := is.New(t)
	m, store, mock := newManager(t, apikey.Options{})
	token := issue(t, m, apikey.IssueParams{}).Token.Reveal()
	broken := errors.New("connection refused")

	store.err = broken
	_, err := m.Validate(t.Context(), token)
	is.True(errors.Is(err, apikey.ErrUnavailable) && errors.Is(err, broken) && !errors.Is(err, apikey.ErrInvalid))
	store.err = nil

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Validate(ctx, token)
	is.True(errors.Is(err, apikey.ErrUnavailable) && errors.Is(err, context.Canceled))

	for _, now := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 0), time.Unix(0, 999), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<62, 0)} {
		mock.Set(now)
		_, err := m.Validate(t.Context(), token)
		is.True(errors.Is(err, apikey.ErrUnavailable) && errors.Is(err, apikey.ErrClock))
		_, err = m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: "x"})
		is.True(errors.Is(err, apikey.ErrClock))
		is.True(errors.Is(m.Check(t.Context()), apikey.ErrClock))
	}
	mock.Set(start)
	is.Equal(m.Now(), start)
	is.Equal(m.ForOwner("acme", nil).Now(), start)
	var none *apikey.Manager // which a Validator can hold without being nil
	_, err = apikey.Validator(none).Validate(t.Context(), token)
	is.True(errors.Is(err, apikey.ErrUnavailable))
	var field *apikey.FieldError
	for _, scope := range []string{"", "a b", "a*", "*", ":*", "\n", "ä", strings.Repeat("a", 101)} {
		_, err = m.Validate(t.Context(), token, apikey.Scope(scope))
		is.True(errors.As(err, &field) && field.Field == "scope")
	}
}

func TestNetworks(t *testing.T) {
	m, _, _ := newManager(t, apikey.Options{})
	parse := func(list ...string) (all []netip.Prefix) {
		for _, s := range list {
			all = append(all, netip.MustParsePrefix(s))
		}
		return all
	}
	for _, test := range []struct {
		name     string
		networks []netip.Prefix
		from     string // "" = not given
		want     error
	}{
		{"anywhere, from nowhere", nil, "", nil},
		{"anywhere", nil, "198.51.100.1", nil},
		{"inside", parse("192.0.2.0/24"), "192.0.2.255", nil},
		{"outside", parse("192.0.2.0/24"), "192.0.3.0", apikey.ErrAddress},
		{"from nowhere", parse("192.0.2.0/24"), "", apikey.ErrAddress},
		{"second network", parse("192.0.2.0/24", "2001:db8::/32"), "2001:db8::1", nil},
		{"host bits are cleared", parse("192.0.2.77/24"), "192.0.2.1", nil},
		{"mapped address", parse("192.0.2.0/24"), "::ffff:192.0.2.1", nil},
		{"mapped network", parse("::ffff:192.0.2.0/120"), "192.0.2.1", nil},
		{"zone", parse("fe80::/10"), "fe80::1%eth0", nil},
		{"everything of IPv4 is not IPv6", parse("0.0.0.0/0"), "2001:db8::1", apikey.ErrAddress},
		{"everything of IPv6 is not IPv4", parse("::/0"), "192.0.2.1", apikey.ErrAddress},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := issue(t, m, apikey.IssueParams{Networks: test.networks}).Token.Reveal()
			var needs []apikey.Requirement
			if test.from != "" {
				needs = append(needs, apikey.From(netip.MustParseAddr(test.from)))
			}
			if _, err := m.Validate(t.Context(), token, needs...); err != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
			if _, err := m.Validate(t.Context(), token, apikey.From(netip.Addr{})); len(test.networks) > 0 && err != apikey.ErrAddress {
				t.Errorf("from the zero address: %v", err)
			}
			if len(test.networks) > 0 && test.want == nil {
				needs = append(needs, apikey.From(netip.MustParseAddr("203.0.113.1")))
				if _, err := m.Validate(t.Context(), token, needs...); err != apikey.ErrAddress {
					t.Errorf("one address inside, one outside: %v", err)
				}
			}
		})
	}
}

func TestScopes(t *testing.T) {
	for _, test := range []struct {
		held, asked string
		want        bool
	}{
		{"", "a", false},
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"ab", "a", false},
		{"a b c", "b", true},
		{"orders:read", "orders:read", true},
		{"orders:read", "orders", false},
		{"orders:*", "orders:read", true},
		{"orders:*", "orders:read:own", true},
		{"orders:*", "orders:*", true},
		{"orders:*", "orders:", true},
		{"orders:*", "orders", false},
		{"orders:*", "ordersx:read", false},
		{"orders:read:*", "orders:read", false},
		{"orders:read:*", "orders:read:own", true},
		{"orders:read", "orders:*", false},
	} {
		is := is.New(t)
		m, _, _ := newManager(t, apikey.Options{})
		scopes, err := apikey.ParseScopes(test.held)
		is.NoErr(err)
		is.Equal(scopes.String(), test.held)
		is.Equal(scopes.Allows(test.asked), test.want)
		token := issue(t, m, apikey.IssueParams{Scopes: scopes.Slice()}).Token.Reveal()
		_, err = m.Validate(t.Context(), token, apikey.Scope(test.asked))
		is.Equal(err == nil, test.want)
	}
}

// TestObserveHangUp checks that Observe distinguishes a caller that has gone from
// a store failure, and from a deadline.
func TestObserveHangUp(t *testing.T) {
	is := is.New(t)
	var seen []apikey.Observation
	m, store, _ := newManager(t, apikey.Options{Observe: func(_ context.Context, o apikey.Observation) { seen = append(seen, o) }})
	token := issue(t, m, apikey.IssueParams{}).Token.Reveal()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	for _, ctx := range []context.Context{t.Context(), canceled, late} {
		for _, store.err = range []error{nil, errors.New("connection refused"), ctx.Err()} {
			m.Validate(ctx, token)
			is.Equal(seen[len(seen)-1].Canceled, ctx == canceled)
		}
	}
	is.Equal(len(seen), 9)
}

func TestObserve(t *testing.T) {
	is := is.New(t)
	var seen []apikey.Observation
	m, store, _ := newManager(t, apikey.Options{Observe: func(_ context.Context, o apikey.Observation) { seen = append(seen, o) }})
	a, b := issue(t, m, apikey.IssueParams{}), issue(t, m, apikey.IssueParams{Owner: "other"})
	broken := errors.New("connection refused")
	for _, token := range []string{a.Token.Reveal(), "no token", withSecret(a.Token.Reveal(), b.Token.Reveal())} {
		m.Validate(t.Context(), token)
	}
	_, err := m.Disable(t.Context(), b.Key.ID)
	is.NoErr(err)
	m.Validate(t.Context(), b.Token.Reveal())
	store.err = broken
	m.Validate(t.Context(), a.Token.Reveal())
	store.err = nil
	m.Validate(t.Context(), a.Token.Reveal(), apikey.Scope("*"))
	want := []apikey.Observation{
		{AccessKey: a.AccessKey(), KeyID: a.Key.ID, Owner: "acme"},
		{Err: apikey.ErrInvalid},
		{AccessKey: a.AccessKey(), Err: apikey.ErrInvalid},
		{AccessKey: b.AccessKey(), KeyID: b.Key.ID, Owner: "other", Err: apikey.ErrDisabled},
		{AccessKey: a.AccessKey(), Err: seen[4].Err},
		{Err: seen[5].Err},
	}
	same := cmp.Comparer(func(a, b error) bool { return a == b })
	if diff := cmp.Diff(want, seen, same, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	is.True(errors.Is(seen[4].Err, broken))
}
