//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
)

// servers are those under test, with what they share.
type servers struct {
	list []*server
	// Of several: the database, and the nodes that keep their messages.
	nodes []*natstest.Node
	drop  func()
	// folder is where everything lies that they keep, empty for another's.
	folder string
}

// natsNodes is how many nodes keep the messages of several servers: one may be lost.
const natsNodes = 3

// startServers starts so many servers below a folder: one on embedded defaults, or several
// on one PostgreSQL, which must be installed, and one cluster of NATS.
func startServers(ctx context.Context, program, folder string, count int, flags []string) (_ *servers, err error) {
	all := &servers{folder: folder, drop: func() {}}
	defer func() {
		if err != nil {
			all.end()
		}
	}()
	var shared []string
	if count > 1 {
		postgres, err := pgtest.Open()
		if err != nil {
			return nil, fmt.Errorf("several servers need PostgreSQL: %w", err)
		}
		all.drop = postgres.Close
		database, drop, err := postgres.Database(ctx)
		if err != nil {
			return nil, err
		}
		all.drop = func() {
			_ = drop(context.WithoutCancel(ctx)) // a private server goes with all it has
			postgres.Close()
		}
		all.nodes = natstest.New(folder, natsNodes)
		if err := natstest.StartAll(all.nodes); err != nil {
			return nil, err
		}
		shared = []string{"FESCUE_DATABASE=" + database, "FESCUE_BROKER=" + natstest.URL(all.nodes...), "FESCUE_MASTER_KEY_FILE=" + filepath.Join(folder, "master.key")}
		flags = append(slices.Clone(flags), "--artifacts", filepath.Join(folder, "artifacts"))
	}
	for i := range count {
		s, err := startServer(ctx, program, filepath.Join(folder, fmt.Sprint("server-", i+1)), shared, flags)
		if err != nil {
			return nil, err
		}
		all.list = append(all.list, s)
	}
	return all, nil
}

// operated is the server that the operator calls: the last one, which no fault comes upon
// that leaves another.
func (a *servers) operated() *server { return a.list[len(a.list)-1] }

// use adds up what the servers use that run.
func (a *servers) use(ctx context.Context) (all usage, err error) {
	for _, s := range a.list {
		if s.process != nil && s.process.Ended() != nil {
			continue
		}
		u, err := s.use(ctx)
		if err != nil {
			return all, err
		}
		for _, f := range figures {
			*f.of(&all) += *f.of(&u)
		}
		all.At = u.At
	}
	if all.Sockets, err = socketMemory(); err != nil || a.folder == "" {
		return all, err
	}
	all.Stored, err = size(a.folder)
	return all, err
}

// size is how much the files below a folder take, in bytes.
func size(folder string) (total float64, err error) {
	err = filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				total += float64(info.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // it went meanwhile
			return nil
		}
		return err
	})
	return total, err
}

// run starts all that do not run.
func (a *servers) run(ctx context.Context) error {
	for _, s := range a.list {
		if err := s.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop ends all in peace.
func (a *servers) stop() {
	for _, s := range a.list {
		s.stop()
	}
}

// kill ends all as a power cut would.
func (a *servers) kill() {
	for _, s := range a.list {
		s.process.Kill()
	}
}

// end ends all with what they share.
func (a *servers) end() {
	a.stop()
	for _, n := range a.nodes {
		n.Kill()
	}
	a.drop()
}
