package sqlstore

import (
	"cmp"
	"context"

	"github.com/keyturn/apikey"
)

// OnceNames implements [apikey.Store].
func (s *Store) OnceNames(ctx context.Context, q apikey.OnceQuery) ([]apikey.OnceName, error) {
	var names []apikey.OnceName
	err := s.read(ctx, func(ctx context.Context, db querier) (err error) {
		names, err = s.tryOnceNames(ctx, db, q)
		return err
	})
	return names, failed(ctx, "once names", err)
}

func (s *Store) tryOnceNames(ctx context.Context, db querier, q apikey.OnceQuery) ([]apikey.OnceName, error) {
	after := q.After
	statement, args := s.dialect.onceNames, []any{after.Seq, after.Seq, after.Name, int64(q.Limit)}
	if q.Name != "" {
		statement, args = s.dialect.onceName, []any{q.Name}
	}
	rows, err := db.QueryContext(ctx, statement, args...)
	if s.absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []apikey.OnceName
	var n apikey.OnceName
	columns := onceColumns(&n)
	for rows.Next() {
		if err := rows.Scan(columns...); err != nil {
			return nil, err
		}
		if cmp.Or(cmp.Compare(n.Seq, after.Seq), cmp.Compare(n.Name, after.Name)) > 0 && len(names) < q.Limit {
			names = append(names, n)
		}
	}
	err = rows.Err()
	if s.absent(err) { // as some drivers report it
		return nil, nil
	}
	return names, err
}
