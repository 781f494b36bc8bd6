package apikeyui

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

// issuedView is the one page that shows a token: the direct answer to the form
// that asked for it.
type issuedView struct {
	Kind    string // "issued", "regenerated" or "rotated"
	Key     keyView
	Issued  apikey.Issued
	Unknown bool // the change may not have been made
	APIURL  string
	Done    string // where to go on: the page of the key, which confirms
}

// issued answers with a new token. If it is not known whether the token works,
// it is shown with a warning: were it kept back, and worked, the key would be
// lost.
//
// The page around it was made before; see prepare.
func (v *visit) issued(kind string, page *shell, issued apikey.Issued, err error) (reply, error) {
	unknown := errors.Is(err, apikey.ErrOutcomeUnknown)
	if err != nil && (!unknown || issued.Token.IsZero()) {
		return reply{}, err
	}
	a := reply{status: http.StatusOK, template: "issued", title: "issued.title", secret: true, shell: page}
	if unknown {
		a.status = http.StatusServiceUnavailable
		v.late = append(v.late, apikey.Observation{Status: a.status, Code: "outcome_unknown", Err: err})
	}
	a.data = issuedView{
		kind, v.view(issued.Key, apikey.Owner{}), issued, unknown, v.options.APIURL, v.done(issued.Key, kind).location,
	}
	return a, nil
}

// once returns a text for one form for a new key: random, and such that a form
// that was shown to one owner is not taken for one of another who has logged in
// since. It is no secret: other sites are kept out by CrossOriginProtection.
func once(owner string) string {
	random := rand.Text()
	return random + onceOf(random, owner)
}

// onceOf returns what follows the random part.
func onceOf(random, owner string) string {
	sum := sha256.Sum256([]byte("apikeyui new\x00" + random + "\x00" + owner))
	return hex.EncodeToString(sum[:8])
}

// onceRandom and onceLen are the lengths of rand.Text and of the whole.
const (
	onceRandom = 26
	onceLen    = onceRandom + 16
)

// newView is the form for a new key.
type newView struct {
	Form     *form
	Earliest time.Time
	Latest   time.Time
	Max      time.Time
}

func (v *visit) showNew() (reply, error) {
	owner, err := v.manager.Owner(v.ctx, v.owner)
	if err != nil {
		return reply{}, err
	}
	if owner.Disabled() {
		return reply{}, apikey.ErrOwnerDisabled
	}
	f := v.formOf(apikey.Key{})
	f.within(owner, apikey.Key{})
	f.Once = once(v.owner)
	return v.askNew(f, http.StatusOK), nil
}

func (v *visit) askNew(f *form, status int) reply {
	latest := v.latest(v.now)
	return reply{status: status, template: "new", title: "new.title", data: newView{f, v.now.AddDate(0, 0, 1), latest, latest}}
}

// errUsedForm means that the key that a form created was purged since.
var errUsedForm = errors.New("apikeyui: the form was used before")

// create makes a key, once for each form that was shown: the same form again
// finds that it is made already, and gets no second token.
func (v *visit) create() (reply, error) {
	f := v.parse(apikey.Key{})
	if len(f.Once) != onceLen || unprintable(f.Once) {
		return v.problem(http.StatusBadRequest, "bad_form"), nil
	}
	if random, owner := f.Once[:onceRandom], f.Once[onceRandom:]; owner != onceOf(random, v.owner) {
		return v.problem(http.StatusConflict, "other_owner"), nil
	}
	if len(f.Problems) > 0 {
		return v.askNew(f, http.StatusBadRequest), nil
	}
	params, err := f.params()
	var page *shell
	var issued apikey.Issued
	if err == nil {
		page = v.prepare()
		issued, err = v.mine.Issue(v.ctx, params, apikey.Reason(f.Reason))
	}
	switch {
	case f.refused(err):
		v.narrow(f, apikey.Key{})
		return v.askNew(f, http.StatusBadRequest), nil
	case errors.Is(err, apikey.ErrExists):
		return v.failedFor(issued.Key, err), nil
	case errors.Is(err, apikey.ErrDeleted):
		err = errUsedForm
	}
	answer, err := v.issued("issued", page, issued, err)
	if err == nil {
		return answer, nil
	}
	refusal := v.failed(err)
	if !f.again(refusal) {
		return refusal, nil
	}
	answer = v.askNew(f, refusal.status)
	answer.header = refusal.header
	return answer, nil
}

func (f *form) params() (apikey.IssueParams, error) {
	params := apikey.IssueParams{
		Name: strings.TrimSpace(f.Name), Scopes: f.scopes, IdempotencyKey: "apikeyui " + f.Once,
	}
	networks, err := apikey.ParseNetworks(f.Networks)
	if err != nil {
		return params, err
	}
	params.Networks = append([]netip.Prefix(nil), networks.Slice()...)
	if f.Expires != "" {
		params.ExpiresAt, err = f.expires()
	}
	return params, err
}

// otherReason is chosen for a reason that is none of those offered.
const otherReason = "other"

// regenerate wants a reason: one of those offered, or the owner's own words,
// or both.
func (v *visit) regenerate(key apikey.Key, f *form) (reply, error) {
	reason := strings.TrimSpace(f.Reason)
	switch f.Choice {
	case "":
	case otherReason:
		if reason == "" {
			return reply{}, f.refuse("reason", "field.required")
		}
	default:
		i, err := strconv.Atoi(f.Choice)
		if err != nil || i < 0 || i >= len(v.options.Reasons) {
			return reply{}, f.refuse("choice", "field.choose")
		}
		chosen := v.options.Reasons[i]
		if reason != "" {
			chosen += ": " + reason
		}
		reason = chosen
	}
	if reason == "" {
		return reply{}, f.refuse("choice", "field.reason")
	}
	page := v.prepare()
	issued, err := v.mine.Regenerate(v.ctx, key.ID, apikey.Reason(reason), apikey.IfRevision(f.revision))
	return v.issued("regenerated", page, issued, err)
}

func (v *visit) rotate(key apikey.Key, f *form) (reply, error) {
	overlap, err := v.overlap(f)
	if err != nil {
		return reply{}, err
	}
	page := v.prepare()
	issued, err := v.mine.Rotate(v.ctx, key.ID, overlap, apikey.Reason(f.Reason), apikey.IfRevision(f.revision))
	return v.issued("rotated", page, issued, err)
}

// testView says what became of a token that was tested.
type testView struct {
	Key    keyView
	Result string // the name of a text
	Good   bool
}

// verdicts are what a test can find, by the error of Validate.
var verdicts = []struct {
	err  error
	text string
}{
	{apikey.ErrInvalid, "test.invalid"},
	{apikey.ErrReplaced, "test.replaced"},
	{apikey.ErrOwnerDisabled, "test.disabled"},
	{apikey.ErrDisabled, "test.disabled"},
	{apikey.ErrExpired, "test.expired"},
	{apikey.ErrDeleted, "test.invalid"},
	{apikey.ErrAddress, "test.address"}, // the address of the browser says nothing
}

// test validates a token as a request with it would be. It is not shown again,
// and a token of another key is told nothing.
func (v *visit) test(key apikey.Key) (reply, error) {
	token := strings.TrimSpace(v.r.PostForm.Get("token"))
	view := testView{Key: v.view(key, apikey.Owner{}), Result: "test.invalid"}
	a := reply{status: http.StatusOK, template: "test", title: "test.title"}
	accessKey, _ := apikey.AccessKey(token)
	found, err := v.mine.Find(v.ctx, accessKey)
	if err != nil && !errors.Is(err, apikey.ErrNotFound) {
		return reply{}, err
	}
	if err == nil && found.ID == key.ID {
		_, err := v.manager.Validate(v.ctx, token)
		view.Good, view.Result = err == nil, "test.good"
		if err != nil {
			view.Result = ""
		}
		for _, verdict := range verdicts {
			if err == verdict.err { // never wrapped: an outage may wrap any of these
				view.Result = verdict.text
			}
		}
		if view.Result == "" {
			return v.failedFor(key, err), nil
		}
	}
	a.data = view
	return a, nil
}
