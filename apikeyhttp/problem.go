package apikeyhttp

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// Problem is the body of a refusal: problem details as in RFC 9457, with
// members of this package's own. It is made of constants and of what the
// server knows, never of what stands in a request.
type Problem struct {
	Type   string `json:"type"`  // "about:blank", or an IRI that is registered for it
	Title  string `json:"title"` // with "about:blank" the name of the status
	Status int    `json:"status"`

	// Code distinguishes refusals of one status. The comments of this package
	// and of apikeyrest list them. Detail is a sentence for people.
	Code   string `json:"code"`
	Detail string `json:"detail"`

	// Scope are the scopes that are needed, separated by spaces.
	Scope string `json:"scope,omitempty"`

	// Field is the part of the input that was rejected, FieldCode why, as
	// apikey.FieldError.Code. KeyID is the key that an Idempotency-Key has
	// created before, or that may have been changed.
	Field     string `json:"field,omitempty"`
	FieldCode string `json:"field_code,omitempty"`
	KeyID     string `json:"key_id,omitempty"`

	// ViolatedPolicies are the names of the limits that were exceeded, as in
	// draft-ietf-httpapi-ratelimit-headers-10.
	ViolatedPolicies []string `json:"violated-policies,omitempty"`
}

// Write answers a request with the problem, in the way of this package: as
// application/problem+json, not to be stored by caches, without a body to HEAD,
// and without headers that an earlier handler set for another body. Status 503
// gets Retry-After. Empty Type and Title are those of the
// status.
//
// A function like Options.WriteProblem, or nil, writes the body in another form.
//
//	status, code := apikeyhttp.StatusOf(err)
//	apikeyhttp.Problem{Status: status, Code: code}.Write(w, r, nil)
func (p Problem) Write(w http.ResponseWriter, r *http.Request, form func(*http.Request, Problem) (contentType string, body []byte)) {
	newProblemAnswer(p, noChallenge).write(w, r, form)
}

// answer is a refusal, written out once.
type answer struct {
	problem Problem
	bearer  string // the error in the challenge; "" = none, noChallenge = no challenge
	body    []byte // the problem in JSON
	length  string // of body

	// challenges are set if the answer belongs to one Guard.
	challenges []string
}

const noChallenge = "-"

func newAnswer(status int, code, bearer, detail string) *answer {
	return newProblemAnswer(Problem{Status: status, Code: code, Detail: detail}, bearer)
}

func newProblemAnswer(p Problem, bearer string) *answer {
	if p.Type == "" {
		p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	}
	body, _ := json.Marshal(p) // texts and a number: does not fail
	body = append(body, '\n')
	return &answer{problem: p, bearer: bearer, body: body, length: strconv.Itoa(len(body))}
}

// refuse writes an answer with its challenges.
func (c *config) refuse(w http.ResponseWriter, r *http.Request, a *answer) {
	challenges := a.challenges
	if challenges == nil {
		challenges = c.challenges[a]
	}
	if challenges != nil {
		w.Header()["Www-Authenticate"] = slices.Clone(challenges)
	}
	a.write(w, r, c.writeProblem)
}

func (a *answer) write(w http.ResponseWriter, r *http.Request, form func(*http.Request, Problem) (string, []byte)) {
	contentType, body, length := problemType, a.body, a.length
	if form != nil {
		if formType, formed := form(r, a.problem); formType != "" {
			contentType, body, length = formType, formed, strconv.Itoa(len(formed))
		}
	}
	h := w.Header()
	for _, name := range ofAnotherBody {
		delete(h, name)
	}
	// The names are in canonical form, and the values share one allocation.
	values := [...]string{"no-store", contentType, length, "nosniff", "1"}
	h["Cache-Control"], h["Content-Type"] = values[0:1:1], values[1:2:2]
	h["Content-Length"], h["X-Content-Type-Options"] = values[2:3:3], values[3:4:4]
	if a.problem.Status == http.StatusServiceUnavailable {
		h["Retry-After"] = values[4:]
	}
	w.WriteHeader(a.problem.Status)
	if r.Method != http.MethodHead {
		w.Write(body) // on an error the client is gone
	}
}

// ofAnotherBody are headers that a handler before may have set for the answer
// that it expected.
var ofAnotherBody = []string{
	"Accept-Ranges", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Location",
	"Content-Range", "Etag", "Last-Modified", "Location", "Repr-Digest", "Trailer", "Transfer-Encoding",
}

// problemType is the media type of all refusals, whatever the request accepts.
// RFC 9110, section 12.4.1 allows that, and a client that does not know the type
// has the status.
const problemType = "application/problem+json"

// allChallenges returns those of all answers that do not depend on the route.
func (c *config) allChallenges() map[*answer][]string {
	all := map[*answer][]string{}
	for _, a := range []*answer{answerInvalidRequest, answerNoCredential} {
		all[a] = c.challengesFor(a)
	}
	for _, a := range answers {
		all[a] = c.challengesFor(a)
	}
	return all
}

// challengesFor returns the WWW-Authenticate lines of an answer, one for each
// scheme that would be accepted.
func (c *config) challengesFor(a *answer) []string {
	if a.bearer == noChallenge {
		return nil
	}
	var lines []string
	parameters := ""
	if a.bearer != "" {
		parameters = `, error="` + a.bearer + `"`
	}
	if a.problem.Scope != "" {
		parameters += `, scope="` + a.problem.Scope + `"`
	}
	// RFC 9110 asks for a challenge with every 401, and no scheme is
	// registered for a header or a query parameter of its own.
	switch {
	case c.carriers&Bearer != 0:
		lines = append(lines, `Bearer realm="`+c.realm+`"`+parameters)
	case c.carriers&Header != 0:
		lines = append(lines, `ApiKey realm="`+c.realm+`", header="`+c.headerName+`"`+parameters)
	case c.carriers&Query != 0:
		lines = append(lines, `ApiKey realm="`+c.realm+`", parameter="`+c.parameter+`"`+parameters)
	}
	if c.carriers&Basic != 0 && a.problem.Status == http.StatusUnauthorized {
		lines = append(lines, `Basic realm="`+c.realm+`", charset="UTF-8"`)
	}
	return lines
}
