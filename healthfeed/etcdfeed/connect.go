package etcdfeed

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// connect returns a client, which connects when it is used and whenever it has
// lost a member.
func connect(c *Config, password string, p pace) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:            c.Endpoints,
		TLS:                  c.TLS,
		Username:             c.User,
		Password:             password,
		DialTimeout:          p.request,
		DialKeepAliveTime:    10 * time.Second, // a member takes no more than one in 5 s
		DialKeepAliveTimeout: 5 * time.Second,
		MaxCallSendMsgSize:   16 << 20, // the member has its own limit, and says so
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer((&dialer{spread: p.spread, open: new(net.Dialer).DialContext}).dial),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.5, MaxDelay: 5 * time.Second},
				MinConnectTimeout: p.spread + p.request,
			}),
		},
	})
}

// A dialer opens connections to a member at once until one is open, and later ones after a
// while by chance: when a member starts again, all its clients lose it in the same
// moment, and would come back in the same moment.
type dialer struct {
	// set at construction
	spread time.Duration
	open   func(ctx context.Context, network, address string) (net.Conn, error)

	mu  sync.Mutex
	met map[string]bool // addresses, no more than there are endpoints
}

func (d *dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	d.mu.Lock()
	again := d.met[address]
	d.mu.Unlock()
	if again {
		select {
		case <-time.After(rand.N(d.spread)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	conn, err := d.open(ctx, "tcp", address)
	if err == nil && !again {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.met == nil {
			d.met = make(map[string]bool)
		}
		d.met[address] = true
	}
	return conn, err
}
