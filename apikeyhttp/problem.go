package apikeyhttp

import (
	"encoding/json"
	"net/http"
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
	p = p.completed()
	p.write(w, r, form, p.body())
}

func (p Problem) completed() Problem {
	if p.Type == "" {
		p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	}
	return p
}

// body returns the problem in JSON.
func (p Problem) body() []byte {
	object, _ := json.Marshal(p) // texts and a number: does not fail
	return append(object, '\n')
}

func (p Problem) write(w http.ResponseWriter, r *http.Request, form func(*http.Request, Problem) (string, []byte), body []byte) {
	contentType := problemType
	if form != nil {
		if formType, formed := form(r, p); formType != "" {
			contentType, body = formType, formed
		}
	}
	h := w.Header()
	if p.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	for _, name := range ofAnotherBody {
		h.Del(name)
	}
	w.WriteHeader(p.Status)
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

// answer is a refusal, written out once.
type answer struct {
	problem Problem
	bearer  string // the error in the challenge; "" = none, noChallenge = no challenge
	body    []byte // the problem in JSON
}

const noChallenge = "-"

func newAnswer(status int, code, bearer, detail string) *answer {
	return newProblemAnswer(Problem{Status: status, Code: code, Detail: detail}, bearer)
}

func newProblemAnswer(p Problem, bearer string) *answer {
	p = p.completed()
	return &answer{problem: p, bearer: bearer, body: p.body()}
}

// refuse writes an answer.
func (c *config) refuse(w http.ResponseWriter, r *http.Request, a *answer) {
	if challenges := c.challenges(a); challenges != nil {
		w.Header()["Www-Authenticate"] = challenges
	}
	a.problem.write(w, r, c.writeProblem, a.body)
}

// challenges returns the WWW-Authenticate lines of an answer, one for each
// scheme that would be accepted.
func (c *config) challenges(a *answer) []string {
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
