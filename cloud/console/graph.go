package console

import (
	"fmt"
	"slices"

	"github.com/fescue-edge/fescue"
)

// graph is a subscription table as a picture: who sends at the left, a row for each topic
// in the middle, who gets it at the right.
type graph struct {
	Width, Height int
	Senders       []box
	Receivers     []box
	Rows          []graphRow
	// Left out are subscriptions that the picture has no room for.
	LeftOut int
}

// box is a sender or receiver, at its upper left corner.
type box struct {
	X, Y, Width, Height int
	// Name is cut to what the box holds; Whole is all of it.
	Name, Whole string
}

// Middle is the height of the box's middle.
func (b box) Middle() int { return b.Y + b.Height/2 }

// TextX is where its text begins.
func (b box) TextX() int { return b.X + 10 }

// TextY is the text's baseline.
func (b box) TextY() int { return b.Middle() + 5 }

// graphRow is a subscription: two lines and its topic between them.
type graphRow struct {
	Y            int
	In, Out      string // paths
	Topic, Whole string
	TextX, TextY int
}

// Measures of the picture in pixels, and how many rows it has at most.
const (
	graphBox   = 190
	graphWidth = 900
	graphRowY  = 30
	graphBoxY  = 24
	graphRows  = 60
	// Letters that fit into a box, and between the boxes.
	boxLetters, topicLetters = 24, 50
)

// drawn is the picture of subscriptions; nil where there is none. Rows stand by their
// senders, and each box in the middle of its rows where that is free.
func drawn(list []fescue.Subscription) *graph {
	if len(list) == 0 {
		return nil
	}
	g := &graph{Width: graphWidth, LeftOut: max(0, len(list)-graphRows)}
	order := make(map[string]int) // senders as they come
	for _, s := range list {
		if _, ok := order[s.Source]; !ok {
			order[s.Source] = len(order)
		}
	}
	rows := slices.Clone(list[:len(list)-g.LeftOut])
	slices.SortStableFunc(rows, func(a, b fescue.Subscription) int { return order[a.Source] - order[b.Source] })
	from, to := make(map[string][]int), make(map[string][]int)
	for i, s := range rows {
		from[s.Source] = append(from[s.Source], i)
		to[s.Target] = append(to[s.Target], i)
	}
	senders, bottomLeft := boxes(from, 1)
	receivers, bottomRight := boxes(to, graphWidth-graphBox-1)
	g.Height = max(len(rows)*graphRowY, bottomLeft, bottomRight) + graphRowY/2
	const inner, outer = graphBox + 71, graphWidth - graphBox - 71
	for i, s := range rows {
		y := i*graphRowY + graphRowY/2
		start, end := senders[s.Source].Middle(), receivers[s.Target].Middle()
		g.Rows = append(g.Rows, graphRow{
			Y: y, Topic: cutTo(s.Subject, topicLetters), Whole: s.Subject, TextX: inner + 8, TextY: y - 5,
			In:  fmt.Sprintf("M%d %dC%d %d %d %d %d %d", graphBox+1, start, graphBox+36, start, graphBox+36, y, inner, y),
			Out: fmt.Sprintf("M%d %dH%dC%d %d %d %d %d %d", inner, y, outer, outer+35, y, outer+35, end, outer+70, end),
		})
	}
	for _, b := range senders {
		g.Senders = append(g.Senders, b)
	}
	for _, b := range receivers {
		g.Receivers = append(g.Receivers, b)
	}
	for _, side := range [][]box{g.Senders, g.Receivers} {
		slices.SortFunc(side, func(a, b box) int { return a.Y - b.Y })
	}
	return g
}

// boxes puts each name in the middle of its rows, below the one before.
func boxes(rows map[string][]int, x int) (placed map[string]box, bottom int) {
	names, middle := make([]string, 0, len(rows)), make(map[string]int, len(rows))
	for name, of := range rows {
		sum := 0
		for _, i := range of {
			sum += i*graphRowY + graphRowY/2
		}
		names, middle[name] = append(names, name), sum/len(of)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := middle[a] - middle[b]; d != 0 {
			return d
		}
		return rows[a][0] - rows[b][0]
	})
	placed = make(map[string]box, len(names))
	for _, name := range names {
		b := box{X: x, Y: max(middle[name]-graphBoxY/2, bottom+2), Width: graphBox, Height: graphBoxY, Name: cutTo(tail(name), boxLetters), Whole: name}
		placed[name], bottom = b, b.Y+b.Height
	}
	return placed, bottom
}

// cutTo is the beginning of a text, of so many letters.
func cutTo(text string, letters int) string {
	if runes := []rune(text); len(runes) > letters {
		return string(runes[:letters-1]) + "…"
	}
	return text
}
