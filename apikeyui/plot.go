package apikeyui

import (
	"errors"
	"strconv"
	"time"

	"github.com/keyturn/apikey"
)

// plot is the uses of a key by day, drawn as bars.
type plot struct {
	Days    []bar
	Used    []bar // those with any use, newest first, for a table
	Total   int64
	Busiest bar
	First   time.Time
	Last    time.Time

	// OldUses are those of the older access key of a running rotation from
	// the day OldFrom on: that of the rotation, if the drawing begins before.
	OldUses int64
	OldFrom time.Time
}

// bar is one day, in the units of the drawing: y grows downwards.
type bar struct {
	Day       time.Time
	Uses      int64
	Old       int64 // of them, by the older access key, since the rotation
	X         int
	Y, Height int
	OldHeight int
}

const (
	plotDays   = 90
	barStep    = 10
	plotHeight = 120
)

// Box is the size of the drawing.
func (p *plot) Box() string {
	return "0 0 " + strconv.Itoa(plotDays*barStep) + " " + strconv.Itoa(plotHeight)
}

// plot returns the uses of the last days, or nil if they cannot be read because
// the key is damaged.
func (v *visit) plot(key apikey.Key, old *retiring) (*plot, error) {
	today := v.now.Truncate(24 * time.Hour)
	days, err := v.mine.DailyUsage(v.ctx, key.ID, today.AddDate(0, 0, 1-plotDays), today.AddDate(0, 0, 1))
	switch {
	case errors.Is(err, apikey.ErrDamaged):
		v.observe(err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	p := &plot{First: days[0].Day, Last: days[len(days)-1].Day}
	rotated := key.IssuedAt.Truncate(24 * time.Hour)
	if p.OldFrom = rotated; rotated.Before(p.First) {
		p.OldFrom = p.First
	}
	for i, day := range days {
		b := bar{Day: day.Day, Uses: day.Uses, X: i * barStep}
		// Days are counted whole: what is not in use was used before the
		// rotation on the day of it.
		if old != nil && old.InUse && !day.Day.Before(rotated) {
			b.Old = day.Of(key.RetiringID).Uses
			p.OldUses += b.Old
		}
		if p.Total += b.Uses; b.Uses > p.Busiest.Uses {
			p.Busiest = b
		}
		p.Days = append(p.Days, b)
	}
	for i := range p.Days {
		b := &p.Days[i]
		b.Height, b.OldHeight = height(b.Uses, p.Busiest.Uses), height(b.Old, p.Busiest.Uses)
		b.Y = plotHeight - b.Height
		if b.Uses > 0 {
			p.Used = append([]bar{*b}, p.Used...)
		}
	}
	return p, nil
}

// OldY is where the part of the older access key begins, at the foot.
func (b bar) OldY() int { return plotHeight - b.OldHeight }

// height returns how high uses are drawn: whatever there was can be seen.
func height(uses, most int64) int {
	if uses == 0 {
		return 0
	}
	return max(3, int(float64(uses)/float64(most)*plotHeight))
}
