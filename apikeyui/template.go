package apikeyui

import (
	"embed"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

//go:embed templates/*.html
var templateFiles embed.FS

// frame is what the templates are given.
type frame struct {
	Root       string
	Title      string
	Style      string // addresses below Root
	Script     string
	Stylesheet string
	Header     template.HTML
	Footer     template.HTML
	View       any
	Content    template.HTML
}

// parseTemplates returns the templates in the language of the texts.
func parseTemplates(texts Texts) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"t":        texts.say,
		"date":     func(t time.Time) string { return t.UTC().Format(texts["format.date"]) },
		"time":     func(t time.Time) string { return t.UTC().Format(texts["format.time"]) },
		"machine":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"day":      func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
		"duration": texts.duration,
		"number":   texts.number,
		"typed":    printable,
		"values":   named,
		"details":  texts.details,
	}).ParseFS(templateFiles, "templates/*.html"))
}

// named makes one value of several, for a template that takes one.
func named(pairs ...any) map[string]any {
	values := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values[pairs[i].(string)] = pairs[i+1]
	}
	return values
}

// printable returns a text as it was typed, but without what no page may hold.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == 0xfffe || r == 0xffff {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// duration says a length of time in the largest unit that it is a multiple of.
func (t Texts) duration(d time.Duration) string {
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if d%unit.size != 0 {
			continue
		}
		n := int64(d / unit.size)
		if n == 1 {
			return t["duration."+unit.name]
		}
		return t.say("duration."+unit.name+"s", "n", strconv.FormatInt(n, 10))
	}
	return d.String()
}

// number writes a number in groups of three digits.
func (t Texts) number(n int64) string {
	text := strconv.FormatInt(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + t["format.thousands"] + text[at:]
	}
	return text
}

// detail is one thing that an event says beside its kind.
type detail struct {
	Label string
	Value string
}

// details says what else changed with an event.
func (t Texts) details(e apikey.Event) []detail {
	var list []detail
	for name, value := range e.Data.All() {
		switch name {
		case "name", "scopes", "networks":
		case "rate":
			if strings.HasPrefix(value, "0 ") {
				value = ""
			}
		case "metadata":
			// The host's own, which the pages show nowhere.
			value = t["history.changed"]
		case "expires_at":
			if at, err := time.Parse(time.RFC3339, value); err == nil {
				value = at.UTC().Format(t["format.time"])
			}
		default:
			continue
		}
		if value == "" {
			value = t["history.none"]
		}
		list = append(list, detail{t["data."+name], value})
	}
	if e.OldCredentialID != "" && !e.OldExpiresAt.IsZero() && e.OldExpiresAt.After(e.At) {
		list = append(list, detail{t["data.overlap"], e.OldExpiresAt.UTC().Format(t["format.time"])})
	}
	return list
}
