package edgecache

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// defaultStore is the store that needs no definition.
const defaultStore = "default"

// defaultMemory is the budget of a store that says nothing.
const defaultMemory = 256 << 20

// App defines the stores that `edgecache` handlers keep responses in. A store
// survives configuration reloads by its name; its sizes follow the running
// configuration.
type App struct {
	// The stores by name. A store `default` exists also when it is not here.
	Stores map[string]StoreConfig `json:"stores,omitempty"`

	mu       sync.Mutex
	acquired map[string]*state // mu; each holds one reference in the pool
	handlers []*Handler        // mu; that use a store
}

// StoreConfig is the size of one store.
type StoreConfig struct {
	// The most bytes of memory that stored responses may take: keys, fields,
	// content and index. Default: 268435456 (256 MiB).
	Memory int64 `json:"memory,omitempty"`

	// The largest content that is stored, in bytes. Larger responses are
	// passed on without being stored. Default: an eighth of `memory`.
	MaxObject int64 `json:"max_object,omitempty"`
}

func (c StoreConfig) withDefaults() StoreConfig {
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.MaxObject == 0 {
		c.MaxObject = c.Memory / 8
	}
	return c
}

// minMemory is the smallest store, in bytes: less hardly holds a response with its
// fields.
const minMemory = 4 << 10

func (c StoreConfig) validate() error {
	if c.Memory < 0 || c.Memory > 0 && c.Memory < minMemory {
		return fmt.Errorf("memory %d: want at least %d bytes", c.Memory, minMemory)
	}
	if c.MaxObject < 0 {
		return fmt.Errorf("max_object %d: want a positive number of bytes", c.MaxObject)
	}
	if c := c.withDefaults(); c.MaxObject > c.Memory {
		return fmt.Errorf("max_object %d is larger than memory %d", c.MaxObject, c.Memory)
	}
	return nil
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "edgecache",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision takes a reference to every store that is configured. A store
// that exists already keeps its sizes until the configuration has started.
func (a *App) Provision(ctx caddy.Context) error {
	a.acquired = make(map[string]*state)
	for name, c := range a.Stores {
		if err := c.validate(); err != nil {
			return fmt.Errorf("store %q: %w", name, err)
		}
		if _, err := a.use(name); err != nil {
			return err
		}
	}
	if err := processMetrics().register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	// Only the event says that every app has started. A size applied in Start
	// would stay even if another app then refused to start.
	events, err := ctx.App("events")
	if err != nil {
		return err
	}
	return events.(*caddyevents.App).On("started", onStarted(func() {
		a.apply()
		warnOfRules(ctx)
	}))
}

// use returns the state of the named store and takes a reference to it for
// this app, unless it has one.
func (a *App) use(name string) (*state, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, ok := a.acquired[name]; ok {
		return s, nil
	}
	c, ok := a.Stores[name]
	if !ok && name != defaultStore {
		return nil, fmt.Errorf("store %q is not defined in the edgecache app", name)
	}
	s, err := acquireState(name, c.withDefaults())
	if err != nil {
		return nil, err
	}
	a.acquired[name] = s
	return s, nil
}

// add notes a handler that uses a store of this app.
func (a *App) add(h *Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handlers = append(a.handlers, h)
}

// users are the handlers of this configuration.
func (a *App) users() []*Handler {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.handlers)
}

// apply gives the stores the sizes of this configuration.
func (a *App) apply() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, s := range a.acquired {
		s.resize(a.Stores[name].withDefaults())
	}
}

// warnOfRules logs the access rules that hits go round.
func warnOfRules(ctx caddy.Context) {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return // no HTTP, no rules
	}
	for _, f := range scanRoutes(app.(*caddyhttp.App)) {
		ctx.Logger().Warn(f.text, zap.String("directive", f.what), zap.String("at", f.at))
	}
}

// Start does nothing; see Provision for when sizes apply.
func (a *App) Start() error { return nil }

// Stop does nothing: requests may still be in the handlers.
func (a *App) Stop() error { return nil }

// Cleanup lets go of the references that this app took, and of no others.
func (a *App) Cleanup() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name := range a.acquired {
		if err := releaseState(name); err != nil {
			return err
		}
		delete(a.acquired, name)
	}
	return nil
}

// onStarted is an event handler that needs nothing of the event.
type onStarted func()

// Handle calls f.
func (f onStarted) Handle(context.Context, caddy.Event) error {
	f()
	return nil
}

// Interface guards
var (
	_ caddy.App           = (*App)(nil)
	_ caddy.Provisioner   = (*App)(nil)
	_ caddy.CleanerUpper  = (*App)(nil)
	_ caddyevents.Handler = onStarted(nil)
)
