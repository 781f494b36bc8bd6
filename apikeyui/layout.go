package apikeyui

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"runtime/debug"

	"github.com/keyturn/apikey"
)

// LayoutPanic is the error that Options.Observe gets if Options.Layout panicked
// before a token was created.
type LayoutPanic struct {
	Value any    // what Layout panicked with
	Stack []byte // as by debug.Stack
}

func (e *LayoutPanic) Error() string { return fmt.Sprintf("apikeyui: Layout panicked: %v", e.Value) }

// Unwrap returns the value, if it is an error.
func (e *LayoutPanic) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// errContent means that a Layout did not write the content as it was given.
var errContent = errors.New("apikeyui: Layout must write Content unchanged and once")

// shell is a page whose content is still missing.
type shell struct{ before, after []byte }

// prepare lays out the page that is to show a new token, before there is one,
// around a placeholder. So nothing of the application's runs between the change
// and the response: a Layout that blocks, fails or panics loses no token, and
// none sees one. If it fails, the result is nil and the page gets the handler's
// own frame.
func (v *visit) prepare() *shell {
	if v.options.Layout == nil {
		return nil
	}
	placeholder := template.HTML(`<div class="apikeyui" id="apikeyui">` + rand.Text() + `</div>`)
	page, err := v.tryLayout(frame{Title: v.options.Texts["issued.title"]}, placeholder)
	if err == nil && bytes.Count(page, []byte(placeholder)) != 1 {
		err = errContent
	}
	if err != nil {
		v.late = append(v.late, apikey.Observation{Err: err})
		return nil
	}
	before, after, _ := bytes.Cut(page, []byte(placeholder))
	return &shell{before, after}
}

// tryLayout calls the Layout and returns a panic of it as an error.
func (v *visit) tryLayout(f frame, content template.HTML) (page []byte, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &LayoutPanic{value, debug.Stack()}
		}
	}()
	return v.layout(f, content)
}

// layout calls the Layout with the content.
func (v *visit) layout(f frame, content template.HTML) ([]byte, error) {
	head, err := v.execute("head", v.framed(f))
	if err != nil {
		return nil, err
	}
	var whole bytes.Buffer
	err = v.options.Layout(&whole, v.r, Page{Title: f.Title, Head: template.HTML(head), Content: content})
	return whole.Bytes(), err
}

// render returns the page of a reply.
func (v *visit) render(a reply) ([]byte, error) {
	f := v.framed(frame{Title: v.options.Texts[a.title], View: a.data})
	inner, err := v.execute(a.template, f)
	if err != nil {
		return nil, err
	}
	f.Content = template.HTML(inner)
	if v.options.Layout == nil || a.secret && a.shell == nil {
		return v.execute("frame", f)
	}
	content, err := v.execute("content", f)
	if err != nil {
		return nil, err
	}
	if a.secret {
		return bytes.Join([][]byte{a.shell.before, a.shell.after}, content), nil
	}
	return v.layout(f, template.HTML(content))
}

// framed fills in what all pages have.
func (v *visit) framed(f frame) frame {
	f.Root, f.Style, f.Script = v.root, styleSheet.address(), script.address()
	f.Stylesheet, f.Header, f.Footer = v.options.Stylesheet, v.options.Header, v.options.Footer
	return f
}

func (v *visit) execute(name string, f frame) ([]byte, error) {
	var b bytes.Buffer
	err := v.templates.ExecuteTemplate(&b, name, f)
	return b.Bytes(), err
}

// observeLate passes on the errors that had to wait until a page with a token
// was on its way. A panic of Observe ends here: net/http would close the
// connection, and a token that is still in a buffer would be lost.
func (v *visit) observeLate(w http.ResponseWriter) {
	if len(v.late) == 0 {
		return
	}
	http.NewResponseController(w).Flush() // fails if w cannot be flushed
	for _, o := range v.late {
		func() {
			defer func() { recover() }()
			v.report(o)
		}()
	}
}
