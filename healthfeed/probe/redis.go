package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// maxReply is the longest line that is read from a server, in bytes.
const maxReply = 512

// attemptRedis sends PING, after AUTH if there is a password, and wants PONG. Both go
// out at once, so that the password costs no further round trip.
func attemptRedis(ctx context.Context, d *dialer) (answer, error) {
	secret, err := password(d.check)
	if err != nil {
		return answer{}, unableError{err}
	}
	start := time.Now()
	var conn net.Conn
	if d.check.TLS {
		conn, err = d.dial(ctx, "tcp", d.check.Addr)
	} else {
		conn, err = d.dialPlain(ctx, "tcp", d.check.Addr)
	}
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var commands []byte
	switch {
	case d.check.User != "":
		commands = appendCommand(commands, "AUTH", d.check.User, secret)
	case secret != "":
		commands = appendCommand(commands, "AUTH", secret)
	}
	if _, err := conn.Write(appendCommand(commands, "PING")); err != nil {
		return answer{}, err
	}
	r := bufio.NewReaderSize(conn, maxReply)
	if commands != nil {
		if err := reply(r, "OK"); err != nil {
			return answer{}, fmt.Errorf("AUTH: %w", err)
		}
	}
	if err := reply(r, "PONG"); err != nil {
		return answer{}, fmt.Errorf("PING: %w", err)
	}
	return answer{rtt: time.Since(start)}, nil
}

// password reads the password of a check, now, since it may have changed. It is empty
// if the check has none.
func password(c *healthfeed.Check) (secret string, err error) {
	switch {
	case c.PasswordFile != "":
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return "", err
		}
		if secret = strings.TrimRight(string(text), "\r\n"); secret == "" {
			return "", fmt.Errorf("%s: there is no password in it", c.PasswordFile)
		}
	case c.PasswordEnv != "":
		if secret = os.Getenv(c.PasswordEnv); secret == "" {
			return "", fmt.Errorf("password_env: %s is not set", c.PasswordEnv)
		}
	}
	return secret, nil
}

// appendCommand appends a command as the protocol of Redis, RESP, has it: an array of
// strings with their lengths.
func appendCommand(to []byte, words ...string) []byte {
	to = fmt.Appendf(to, "*%d\r\n", len(words))
	for _, w := range words {
		to = fmt.Appendf(to, "$%d\r\n%s\r\n", len(w), w)
	}
	return to
}

// reply reads the reply to a command, which is to be the simple string want. What the
// server says otherwise is quoted but for what only a server with a wrong password
// says: there the fault is the prober's, who may not tell whether the node is well.
func reply(r *bufio.Reader, want string) error {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("a reply of more than %d bytes", maxReply)
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	}
	text, whole := strings.CutSuffix(string(line), "\r\n")
	if !whole {
		return fmt.Errorf("reply %.40q does not end as RESP has it", text)
	}
	if text == "+"+want {
		return nil
	}
	code, isError := strings.CutPrefix(text, "-")
	code, _, _ = strings.Cut(code, " ")
	switch {
	case !isError:
		return fmt.Errorf("reply %.40q is not +%s", text, want)
	case code == "NOAUTH":
		return unable("NOAUTH: the server wants a password, and the check has none")
	case code == "WRONGPASS", code == "NOPERM", code == "ERR" && want == "OK": // to AUTH where no password is set
		return unable("%s: the server takes another user or password", code)
	case code == "LOADING":
		return errors.New("LOADING: the server is reading its data set")
	}
	return fmt.Errorf("the server says %.80q", text[1:])
}
