package gateway

import (
	"log/slog"
	"net"
)

// refuse logs what is refused, of each kind and sender once a minute at most, however
// often it is tried. who is a certificate, a thing, or a kind of unknown client; from may
// be nil.
func (g *Gateway) refuse(what, who string, from net.Addr, cause error) {
	attrs := []any{slog.String("errorString", cause.Error())}
	if from != nil {
		attrs = append(attrs, slog.String("address", from.String()))
	}
	g.refused.Warn("A client device's "+what+" was refused or broken off.", who, attrs...)
}
