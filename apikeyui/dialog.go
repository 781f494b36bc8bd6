package apikeyui

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

// dialog is one change of a key: a page that asks, and what is done then.
type dialog struct {
	name string // in the address, in refusals and of the template
	do   func(*visit, apikey.Key, *form) (reply, error)
}

// dialogs are all changes of a key that there are.
var dialogs = []dialog{
	{"edit", (*visit).edit},
	{"disable", (*visit).disable},
	{"enable", (*visit).enable},
	{"regenerate", (*visit).regenerate},
	{"rotate", (*visit).rotate},
	{"finish", (*visit).finish},
	{"extend", (*visit).extend},
	{"delete", (*visit).remove},
}

// dialogView is a dialog about a key.
type dialogView struct {
	Key      keyView
	Form     *form
	Overlaps []overlap // that can be chosen
	Reasons  []string
	Latest   time.Time // how late the key may end; zero if it is not known
	Max      time.Time // the same, or later if the key ends later already
}

// overlap is one that can be chosen.
type overlap struct {
	Number   int // of the option
	Duration time.Duration
	Until    time.Time // when the older token would end
}

// show asks. Nothing is changed by looking at a question.
func (d dialog) show(v *visit, key apikey.Key) (reply, error) {
	owner, err := v.manager.Owner(v.ctx, v.owner)
	if err != nil {
		return reply{}, err
	}
	if owner.Disabled() {
		return v.failedFor(key, apikey.ErrOwnerDisabled), nil
	}
	if err := refusals[d.name](v.view(key, owner)); err != nil {
		return v.failedFor(key, err), nil
	}
	f := v.formOf(key)
	f.within(owner, key)
	return d.ask(v, key, f, http.StatusOK)
}

func (d dialog) ask(v *visit, key apikey.Key, f *form, status int) (reply, error) {
	view := dialogView{Key: v.view(key, apikey.Owner{}), Form: f, Reasons: v.options.Reasons, Latest: v.latest(key.IssuedAt)}
	if view.Max = view.Latest; !view.Max.IsZero() && view.Max.Before(key.ExpiresAt) {
		view.Max = key.ExpiresAt // else no browser would send the form
	}
	switch d.name {
	case "rotate":
		view.Overlaps = v.overlaps(v.now, key.ExpiresAt)
	case "extend":
		own, err := v.ownEnd(key)
		if err != nil {
			return reply{}, err
		}
		view.Overlaps = v.overlaps(key.RetiringUntil, own)
	}
	f.choose(view.Overlaps)
	return reply{status: status, template: d.name, title: d.name + ".title", data: view}, nil
}

// submit does what was asked for, on the very revision of the key that the
// form was made for: sent twice, or after someone else's change, it does
// nothing. What is wrong in a field is told at the field, with what was typed.
func (d dialog) submit(v *visit, key apikey.Key) (reply, error) {
	f := v.parse(key)
	switch {
	case f.revision < 1:
		return v.problem(http.StatusBadRequest, "bad_form"), nil
	case f.revision != key.Revision:
		// Before the fields are looked at: what is mended in a form for a
		// state that is past would be in vain.
		return v.failedFor(key, apikey.ErrConflict), nil
	}
	if len(f.Problems) > 0 {
		return d.ask(v, key, f, http.StatusBadRequest)
	}
	answer, err := d.do(v, key, f)
	if f.refused(err) {
		v.narrow(f, key)
		return d.ask(v, key, f, http.StatusBadRequest)
	}
	if err != nil {
		refusal := v.failedFor(key, err)
		if !f.again(refusal) {
			return refusal, nil
		}
		if answer, err = d.ask(v, key, f, refusal.status); err != nil {
			return refusal, nil
		}
		answer.header = refusal.header
	}
	return answer, nil
}

// form is what stands in the fields of a dialog, and what is wrong with them.
type form struct {
	Once     string // a random text by which a key is made only once
	Revision string
	Name     string
	Networks string
	Expires  string // a date
	Scopes   []scopeField
	Overlap  string // number of the option
	Choice   string // number of the reason
	Reason   string // in the owner's own words
	Typed    string // the name, to confirm

	// Problems are by field: the name of a text. Fault is a problem of no
	// field, and Note is the name of a text that is no problem.
	Problems map[string]string
	Fault    problemView
	Note     string

	revision int64
	scopes   []string
}

// scopeField is a scope to tick.
type scopeField struct {
	Scope
	Number  int
	Checked bool
}

// formOf returns the form as it is shown first.
func (v *visit) formOf(key apikey.Key) *form {
	f := &form{
		Revision: strconv.FormatInt(key.Revision, 10), Name: key.Name, Networks: key.Networks.String(),
	}
	if !key.ExpiresAt.IsZero() {
		f.Expires = key.ExpiresAt.Format(time.DateOnly)
	}
	f.Scopes = v.scopeFields(key, key.Scopes.Slice())
	return f
}

// parse reads a form that was sent.
func (v *visit) parse(key apikey.Key) *form {
	sent := v.r.PostForm
	f := &form{
		Once: sent.Get("once"), Revision: sent.Get("revision"), Name: sent.Get("name"), Networks: sent.Get("networks"),
		Expires: sent.Get("expires"), Overlap: sent.Get("overlap"), Choice: sent.Get("choice"),
		Reason: sent.Get("reason"), Typed: sent.Get("typed"), Problems: map[string]string{}, scopes: sent["scope"],
	}
	// Without script, browsers send lines with both ends.
	f.Networks = strings.ReplaceAll(f.Networks, "\r\n", "\n")
	if n, err := strconv.ParseInt(f.Revision, 10, 64); err == nil {
		f.revision = n
	}
	f.Scopes = v.scopeFields(key, f.scopes)
	for field, text := range map[string]*string{
		"name": &f.Name, "networks": &f.Networks, "expires": &f.Expires, "reason": &f.Reason, "typed": &f.Typed,
	} {
		// It would be stored, or shown once more. What the key is called
		// already is both, and has to be typed to delete it.
		if holdsSecret(*text) && !sameName(*text, key.Name) {
			*text, f.Problems[field] = "", "field.secret"
		}
	}
	return f
}

// scopeFields are the scopes offered, and those that the key has from the host.
func (v *visit) scopeFields(key apikey.Key, checked []string) []scopeField {
	offered := slices.Clone(v.offer)
	for scope := range key.Scopes.All() {
		if !slices.ContainsFunc(offered, func(s Scope) bool { return s.Name == scope }) {
			offered = append(offered, Scope{Name: scope})
		}
	}
	var fields []scopeField
	for i, s := range offered {
		fields = append(fields, scopeField{s, i, slices.Contains(checked, s.Name)})
	}
	return fields
}

// fields names the field of a form for what the Manager calls it.
var fields = map[string]string{
	"name": "name", "scopes": "scopes", "networks": "networks", "expires_at": "expires", "lifetime": "expires",
	"overlap": "overlap", "reason": "reason",
}

// refused notes what the Manager says of a field, and reports whether it did.
func (f *form) refused(err error) bool {
	if errors.Is(err, errField) {
		return true
	}
	var refused *apikey.FieldError
	if !errors.As(err, &refused) || errors.Is(err, apikey.ErrOutcomeUnknown) || errors.Is(err, apikey.ErrForbidden) {
		return false
	}
	field, ok := fields[refused.Field]
	if ok {
		text := "field." + refused.Code
		if own := text + "." + field; english[own] != "" {
			text = own
		}
		f.Problems[field] = text
	}
	return ok
}

// again notes a refusal that the same form may not meet another time, and
// reports whether it is one: then the form is shown again, with what was typed.
func (f *form) again(refusal reply) bool {
	problem, _ := refusal.data.(problemView)
	switch problem.Code {
	case "unavailable", "too_soon", "limit":
		f.Fault = problem
		return true
	}
	return false
}

// refuse notes what is wrong with a field: the name of a text.
func (f *form) refuse(field, text string) error {
	f.Problems[field] = text
	return errField
}

// overlaps are those of the options under which the older token of a rotation
// ends after an instant. None lets it live longer than its own end: of those
// that would, the first stands for all.
func (v *visit) overlaps(after, own time.Time) []overlap {
	var list []overlap
	cut := false
	for i, d := range v.options.Overlaps {
		until := earlier(v.now.Add(d), own)
		if until.Equal(own) && cut || !until.After(after) {
			continue
		}
		cut = cut || until.Equal(own)
		list = append(list, overlap{i, d, until})
	}
	return list
}

// ownEnd is when the older token of a running rotation ends at the latest: at
// the end that it had itself, and with the key.
func (v *visit) ownEnd(key apikey.Key) (time.Time, error) {
	credentials, err := v.mine.Credentials(v.ctx, key.ID)
	for _, c := range credentials {
		if c.ID == key.RetiringID {
			return earlier(c.RetireBefore, key.ExpiresAt), nil
		}
	}
	return key.RetiringUntil, err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// choose proposes an overlap, if none was chosen: the second one of all, as
// far as it is offered.
func (f *form) choose(offered []overlap) {
	if f.Overlap != "" || len(offered) == 0 {
		return
	}
	proposed := offered[0]
	for _, o := range offered {
		if o.Number == 1 {
			proposed = o
		}
	}
	f.Overlap = strconv.Itoa(proposed.Number)
}

// overlap returns the overlap that was chosen.
func (v *visit) overlap(f *form) (time.Duration, error) {
	i, err := strconv.Atoi(f.Overlap)
	if err != nil || i < 0 || i >= len(v.options.Overlaps) {
		return 0, f.refuse("overlap", "field.choose")
	}
	return v.options.Overlaps[i], nil
}

// latest returns how late a credential made at an instant may end, or the zero
// time if the host did not say.
func (v *visit) latest(made time.Time) time.Time {
	if v.options.MaxLifetime == (apikey.Period{}) {
		return time.Time{}
	}
	return v.options.MaxLifetime.AddTo(made)
}
