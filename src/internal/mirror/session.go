package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/socket"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// Conn is a connection to HAProxy's admin socket: socket.Conn, or a test's.
type Conn interface {
	// Exec sends the commands and returns the answers in order; on an error those that came before it. The connection is
	// then of no more use.
	Exec(ctx context.Context, cmds []haproxy.Command) ([]string, error)
	// Gone is closed as soon as the connection has ended.
	Gone() <-chan struct{}
	Close()
}

// Dialer connects to HAProxy's present worker.
type Dialer func(ctx context.Context) (Conn, error)

// DialSocket connects to the admin socket at path.
func DialSocket(path string) Dialer {
	return func(ctx context.Context) (Conn, error) {
		c, err := socket.Dial(ctx, path)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

// session is the connection to one HAProxy, and what is known of it.
type session struct {
	dial  Dialer
	pools []Pool
	opts  Options

	// conn is kept between reconciliations, nil when there is none.
	conn    Conn
	worker  haproxy.Worker
	version string
	cache   cache
}

// cache is what need not be read again: nobody else changes it but other callers of this program, who want the same.
type cache struct {
	// servers are those of each pool after the last good reconciliation, nil when they have to be read.
	servers [][]haproxy.Server
	// details are by the pool's name.
	details map[string]details
	// inLine are the nodes that a pool is known to be in line with, by its name.
	inLine map[string][]pool.Node
}

// empty reports whether nothing is known, so that the next reconciliation reads everything.
func (c cache) empty() bool { return c.servers == nil && len(c.details)+len(c.inLine) == 0 }

// details are what is expensive to read.
type details struct {
	maxConn map[haproxy.ServerID]int
	sni     map[string]string
}

// view is a backend as a plan needs it.
type view struct {
	pool.Backend
	// busyRead is set when the number of running requests was read with it.
	busyRead bool
	servers  []haproxy.Server
}

func newSession(dial Dialer, opts Options) *session {
	s := &session{dial: dial, pools: opts.Pools, opts: opts}
	s.forget()
	return s
}

// drop ends the connection: it is broken, or its worker is an old one.
func (s *session) drop() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.conn = nil
	s.forget()
}

// forget makes the next reconciliation read everything.
func (s *session) forget() {
	s.cache = cache{details: map[string]details{}, inLine: map[string][]pool.Node{}}
}

// gone is closed when the connection ends; nil when there is none.
func (s *session) gone() <-chan struct{} {
	if s.conn == nil {
		return nil
	}
	return s.conn.Gone()
}

// query executes reading commands and returns their answers.
func (s *session) query(ctx context.Context, cmds ...haproxy.Command) ([]string, error) {
	replies, err := s.conn.Exec(ctx, cmds)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmds[len(replies)], err)
	}
	for i, reply := range replies {
		if err := cmds[i].Err(reply); err != nil {
			return nil, err
		}
	}
	return replies, nil
}

// apply executes the commands and returns one error (or nil) for each. The second result is set when the connection itself
// failed; the commands without an answer then carry it too, and whether they ran is unknown.
func (s *session) apply(ctx context.Context, cmds []haproxy.Command) ([]error, error) {
	return apply(ctx, s.conn, cmds)
}

func apply(ctx context.Context, conn Conn, cmds []haproxy.Command) ([]error, error) {
	errs := make([]error, len(cmds))
	replies, err := conn.Exec(ctx, cmds)
	for i := range cmds {
		if i < len(replies) {
			errs[i] = cmds[i].Err(replies[i])
		} else {
			errs[i] = err
		}
	}
	return errs, err
}

// replaced reports whether the worker that the session talks to is not HAProxy's present one.
func (s *session) replaced(ctx context.Context) bool {
	replies, err := s.query(ctx, haproxy.ShowInfo())
	if err != nil {
		return true
	}
	info, err := haproxy.ParseInfo(replies[0])
	return err != nil || info.Stopping || info.Worker != s.worker
}

// servers are those of all pools, from the cache where it has them.
func (s *session) servers(ctx context.Context) ([][]haproxy.Server, error) {
	if s.conn != nil && s.cache.servers != nil {
		return s.cache.servers, nil
	}
	return s.observe(ctx)
}

// observe connects where needed and reads the servers of all pools. A worker that is stopping is left for the new one.
func (s *session) observe(ctx context.Context) ([][]haproxy.Server, error) {
	for range 2 {
		if s.conn == nil {
			conn, err := s.dial(ctx)
			if err != nil {
				return nil, err
			}
			s.conn = conn
		}
		info, servers, err := s.look(ctx, s.pools)
		switch {
		case err != nil:
			s.drop()
			return nil, fmt.Errorf("read the slots: %w", err)
		case info.Stopping:
			s.drop()
			continue
		case info.Worker != s.worker:
			s.forget()
			s.worker, s.version = info.Worker, info.Version
		}
		s.cache.servers = servers
		return servers, nil
	}
	return nil, errors.New("this HAProxy worker is stopping; waiting for the new one")
}

// present reads the servers of those pools whose backends HAProxy has, by the backend's name. Servers of other backends are the
// operator's own, and may be anything.
func (s *session) present(ctx context.Context) (map[string][]haproxy.Server, error) {
	pools := s.pools
	defer func() { s.pools = pools; s.forget() }()
	s.pools = nil // connects, and learns which worker it is
	if _, err := s.observe(ctx); err != nil {
		return nil, err
	}
	all := map[string][]haproxy.Server{}
	for _, p := range pools {
		servers, err := s.reread(ctx, p)
		var refused *haproxy.CommandError
		switch {
		case err == nil:
			all[p.Backend.String()] = servers
		case !errors.As(err, &refused) || !refused.UnknownBackend():
			return nil, err
		}
	}
	return all, nil
}

// look reads who HAProxy is and the servers of the pools, in HAProxy's order, without what is expensive to read.
func (s *session) look(ctx context.Context, pools []Pool) (haproxy.Info, [][]haproxy.Server, error) {
	cmds := []haproxy.Command{haproxy.ShowInfo()}
	for _, p := range pools {
		cmds = append(cmds, haproxy.ShowServersState(p.Backend))
	}
	answers, err := s.query(ctx, cmds...)
	if err != nil {
		return haproxy.Info{}, nil, err
	}
	info, err := haproxy.ParseInfo(answers[0])
	if err != nil {
		return haproxy.Info{}, nil, err
	}
	all := make([][]haproxy.Server, 0, len(pools))
	for i, answer := range answers[1:] {
		servers, err := haproxy.ParseServersState(answer)
		if err != nil {
			return info, nil, fmt.Errorf("show servers state %s: %w", pools[i].Backend, err)
		}
		all = append(all, servers)
	}
	return info, all, nil
}

// reread reads one pool's servers.
func (s *session) reread(ctx context.Context, p Pool) ([]haproxy.Server, error) {
	_, servers, err := s.look(ctx, []Pool{p})
	if err != nil {
		return nil, fmt.Errorf("read the slots of backend %s: %w", p.Backend, err)
	}
	return servers[0], nil
}

// view makes of a pool's servers what a plan needs. What is expensive is read when it is not known, when something drains,
// and when readBusy is set.
func (s *session) view(ctx context.Context, p Pool, servers []haproxy.Server, readBusy bool) (view, error) {
	b := pool.Backend{
		Name: p.Backend.String(), MayGrow: s.opts.SlotOverflow, CAFile: s.opts.CAFile, SNIMap: p.SNIMap,
		Slots: slots(servers),
	}
	known, ok := s.cache.details[p.Name]
	readBusy = readBusy || !ok
	for _, slot := range b.Slots {
		if slot.State == haproxy.Drain || slot.Added && slot.State == haproxy.Maint {
			readBusy = true
		}
	}
	if len(b.Slots) == 0 {
		return view{}, fmt.Errorf("backend %s has no slots: its server-templates must be called http, https or https-noverify", p.Backend)
	}
	var loads haproxy.Loads
	if readBusy {
		var err error
		if known, loads, err = s.details(ctx, p); err != nil {
			return view{}, err
		}
		s.cache.details[p.Name] = known
	}
	b.Queued = loads.Queued
	for i := range b.Slots {
		slot := &b.Slots[i]
		if slot.MaxConn, ok = known.maxConn[slot.ID]; !ok {
			delete(s.cache.details, p.Name)
			return view{}, fmt.Errorf("show stat %s has no line for %s: half an answer", p.Backend, slot.ID)
		}
		load := loads.Servers[slot.ID]
		slot.Busy, slot.Queued, slot.SNI = load.Busy, load.Queued, known.sni[slot.ID.Name()]
	}
	return view{b, readBusy, servers}, nil
}

// slots are the servers that the handler manages.
func slots(servers []haproxy.Server) []pool.Slot {
	all := make([]pool.Slot, 0, len(servers))
	for _, server := range servers {
		if slot, ours := pool.NewSlot(server); ours {
			all = append(all, slot)
		}
	}
	return all
}

// views are those of all pools.
func (s *session) views(ctx context.Context) ([]view, error) {
	servers, err := s.servers(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]view, 0, len(s.pools))
	for i, p := range s.pools {
		v, err := s.view(ctx, p, servers[i], false)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// details reads what "show servers state" does not have. It costs HAProxy several times as much.
func (s *session) details(ctx context.Context, p Pool) (details, haproxy.Loads, error) {
	answers, err := s.query(ctx, haproxy.ShowStat(p.Backend))
	if err != nil {
		return details{}, haproxy.Loads{}, err
	}
	loads, err := haproxy.ParseStat(answers[0])
	if err != nil {
		return details{}, loads, fmt.Errorf("show stat %s: %w", p.Backend, err)
	}
	d := details{maxConn: make(map[haproxy.ServerID]int, len(loads.Servers))}
	for id, load := range loads.Servers {
		d.maxConn[id] = load.MaxConn
	}
	if p.SNIMap != (haproxy.Path{}) {
		answers, err := s.query(ctx, haproxy.ShowMap(p.SNIMap))
		var refused *haproxy.CommandError
		switch {
		case err == nil:
			d.sni = haproxy.ParseMap(answers[0])
		case !errors.As(err, &refused) || !refused.UnknownMap():
			return details{}, loads, err
		}
		// A map that no slot uses is not loaded: the pool has no slots for TLS.
	}
	return d, loads, nil
}

// checks reads what HAProxy's own checks say of a pool's servers.
func (s *session) checks(ctx context.Context, p Pool) ([]haproxy.CheckedServer, error) {
	answers, err := s.query(ctx, haproxy.ShowStat(p.Backend))
	if err != nil {
		return nil, err
	}
	all, err := haproxy.ParseChecks(answers[0])
	if err != nil {
		return nil, fmt.Errorf("show stat %s: %w: %w", p.Backend, errUnreadable, err)
	}
	return all, nil
}
