package console

import (
	"fmt"
	"testing"

	"github.com/fescue-edge/fescue"
)

// TestDrawn: nothing of a picture lies on something else or outside, and each line goes
// from a box to a box.
func TestDrawn(t *testing.T) {
	t.Parallel()
	table := func(senders, receivers, rows int) (list []fescue.Subscription) {
		for i := range rows {
			list = append(list, fescue.Subscription{Source: fmt.Sprint("s", i%senders), Target: fmt.Sprint("r", i%receivers), Subject: fmt.Sprint("t/", i)})
		}
		return list
	}
	if drawn(nil) != nil {
		t.Error("a picture of nothing")
	}
	for name, list := range map[string][]fescue.Subscription{
		"one": table(1, 1, 1), "star": table(1, 30, 30), "to one": table(30, 1, 30), "crossed": table(7, 5, 35), "as many boxes as rows": table(50, 50, 50), "too many": table(3, 4, 1000),
		"long names": {{Source: fmt.Sprintf("arn:aws:lambda:us-east-1:123456789012:function:%064d:1", 1), Target: "cloud", Subject: fmt.Sprintf("%0256d", 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := drawn(list)
			if len(g.Rows) != min(len(list), graphRows) || g.LeftOut != len(list)-len(g.Rows) {
				t.Errorf("%d rows, %d left out of %d", len(g.Rows), g.LeftOut, len(list))
			}
			for _, side := range [][]box{g.Senders, g.Receivers} {
				last := 0
				for _, b := range side {
					if b.Y < last || b.Y+b.Height > g.Height || b.X < 0 || b.X+b.Width > g.Width || len([]rune(b.Name)) > boxLetters {
						t.Errorf("%+v, after %d, of %d", b, last, g.Height)
					}
					last = b.Y + b.Height
				}
			}
			for i, r := range g.Rows {
				if r.Y <= 0 || r.Y >= g.Height || i > 0 && r.Y-g.Rows[i-1].Y < graphRowY || len([]rune(r.Topic)) > topicLetters {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}
