package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/keyturn/apikey"
)

// report prints the walk: numbered steps under headings.
type report struct {
	out   io.Writer
	steps int
}

func (r *report) chapter(title string) { fmt.Fprintf(r.out, "\n%s\n", title) }

// step prints what was done and what came back, and returns an error if that
// is not what was expected.
func (r *report) step(what, got, want string) error {
	r.steps++
	if got != want {
		fmt.Fprintf(r.out, "%4d ✗ %-54s %s, expected %s\n", r.steps, what, got, want)
		return fmt.Errorf("step %d, %s: %s, expected %s", r.steps, what, got, want)
	}
	fmt.Fprintf(r.out, "%4d ✓ %-54s %s\n", r.steps, what, got)
	return nil
}

// note prints what there is to see at a step.
func (r *report) note(format string, values ...any) {
	fmt.Fprintf(r.out, "       "+format+"\n", values...)
}

// keys prints a table of keys.
func (r *report) keys(keys []apikey.Key) {
	table := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	for _, k := range keys {
		fmt.Fprintf(table, "          %s\t%s\t%s\t%d uses\n", k.AccessKey(), k.Name, k.Status, k.Uses)
	}
	table.Flush()
}

// events prints a table of events.
func (r *report) events(events []apikey.Event) {
	table := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "   #\tat (UTC)\tevent\tcredential\tby\treason")
	for _, e := range events {
		fmt.Fprintf(table, "%4d\t%s\t%s\t%s\t%s\t%s\n", e.Position.Seq,
			e.At.Format(time.DateTime), e.Kind, e.CredentialID, e.Actor, e.Reason)
	}
	table.Flush()
}
