package oauth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what RFC 6238 and every authenticator use
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/caddy-moat/caddy-moat/modules/internal/fileedit"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// User is one entry of the file of users.
type User struct {
	ID       string
	Created  time.Time
	Changed  time.Time // when the password was set
	Disabled bool
	Roles    []string
	Password Password
	TOTP     []byte   // sealed by a Vault, nil for none
	Recovery []string // hashes of recovery codes, by a Vault
}

// Password is an argon2id hash (RFC 9106).
type Password struct {
	Memory, Time, Threads uint32
	Salt, Hash            []byte
}

// Cost of a new hash: what OWASP recommends at least. Bounds keep a file from
// asking for all memory.
const (
	passwordMemory = 19 << 10 // KiB
	passwordTime   = 2
	maxMemory      = 256 << 10
	maxTime        = 16
	minPassword    = 10
	maxPassword    = 256
	maxUsers       = 10_000
	recoveryCodes  = 10
)

// NewPassword hashes a password.
func NewPassword(text string) (Password, error) {
	if n := len([]rune(text)); n < minPassword || len(text) > maxPassword {
		return Password{}, fmt.Errorf("a password has at least %d characters, and at most %d bytes", minPassword, maxPassword)
	}
	p := Password{Memory: passwordMemory, Time: passwordTime, Threads: 1, Salt: make([]byte, 16)}
	_, _ = rand.Read(p.Salt) // never fails
	p.Hash = p.of(text)
	return p, nil
}

func (p *Password) of(text string) []byte {
	return argon2.IDKey([]byte(text), p.Salt, p.Time, p.Memory, uint8(p.Threads), 32) //nolint:gosec // bounded
}

// String prints the hash as other programs do.
func (p Password) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", p.Memory, p.Time, p.Threads,
		base64.RawStdEncoding.EncodeToString(p.Salt), base64.RawStdEncoding.EncodeToString(p.Hash))
}

// ParsePassword reads a hash as String prints it.
func ParsePassword(text string) (p Password, err error) {
	malformed := errors.New("a hash of argon2id is expected, such as `caddy moat user passwd` makes")
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return p, malformed
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.Memory, &p.Time, &p.Threads); err != nil || n != 3 {
		return p, malformed
	}
	var err1, err2 error
	p.Salt, err1 = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	p.Hash, err2 = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	switch {
	case err1 != nil || err2 != nil || len(p.Salt) < 8 || len(p.Salt) > 64 || len(p.Hash) != 32 || p.String() != text:
		return p, malformed
	case p.Memory < 8<<10 || p.Memory > maxMemory || p.Time < 1 || p.Time > maxTime || p.Threads < 1 || p.Threads > 8:
		return p, fmt.Errorf("its cost is outside of m=%d…%d, t=1…%d, p=1…8", 8<<10, maxMemory, maxTime)
	}
	return p, nil
}

// UserFile is the content of a file of users: one JSON object a line, the first of
// which says what it is: {"moat_users":1}.
type UserFile struct{ Users []*User }

// Find returns the user of that ID, nil if there is none.
func (f *UserFile) Find(id string) *User {
	if i := slices.IndexFunc(f.Users, func(u *User) bool { return u.ID == id }); i >= 0 {
		return f.Users[i]
	}
	return nil
}

// Append prints the file.
func (f *UserFile) Append(b []byte) []byte {
	b = append(b, "{\"moat_users\":1}\n"...)
	for _, u := range f.Users {
		b = append(u.append(b), '\n')
	}
	return b
}

func (u *User) append(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = strictjson.AppendString(b, u.ID)
	b = strictjson.AppendTime(b, "created", u.Created)
	b = strictjson.AppendTime(b, "changed", u.Changed)
	if u.Disabled {
		b = append(b, `,"disabled":true`...)
	}
	b = strictjson.AppendList(b, "roles", u.Roles)
	b = append(b, `,"password":`...)
	b = strictjson.AppendString(b, u.Password.String())
	if u.TOTP != nil {
		b = append(b, `,"totp":`...)
		b = strictjson.AppendString(b, base64url.EncodeToString(u.TOTP))
	}
	b = strictjson.AppendList(b, "recovery", u.Recovery)
	return append(b, '}')
}

// ParseUsers reads a file of users. The error says which line is wrong.
func ParseUsers(text []byte) (*UserFile, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("it is empty")
	}
	var f *UserFile
	lines := strictjson.Lines{Size: MaxSize, Line: maxLine, Count: 1 + maxUsers, Of: "lines"}
	err := lines.Each(text, func(s *strictjson.Scanner, line []byte) error {
		if f == nil {
			version := false
			err := s.Fields(line, func(name string, value []byte) error {
				if version = name == "moat_users" && string(value) == "1"; !version {
					return strictjson.ErrUnknown
				}
				return nil
			})
			if err == nil && !version {
				err = errors.New("not the first line of a file of users: make it with `caddy moat user new`")
			}
			f = new(UserFile)
			return err
		}
		u := new(User)
		if err := s.Fields(line, u.set); err != nil {
			return err
		}
		switch {
		case u.ID == "" || u.Created.IsZero() || u.Changed.IsZero() || u.Password.Hash == nil:
			return errors.New("id, created, changed and password are required")
		case f.Find(u.ID) != nil:
			return fmt.Errorf("the user %s is given twice", u.ID)
		}
		f.Users = append(f.Users, u)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (u *User) set(name string, value []byte) (err error) {
	var text string
	switch name {
	case "id":
		if u.ID, err = strictjson.String(value); err == nil {
			err = CheckUser(u.ID)
		}
	case "created":
		u.Created, err = strictjson.Moment(value)
	case "changed":
		u.Changed, err = strictjson.Moment(value)
	case "disabled":
		u.Disabled, err = strictjson.Bool(value)
	case "roles":
		u.Roles, err = strictjson.List(value, role)
	case "password":
		if text, err = strictjson.String(value); err == nil {
			u.Password, err = ParsePassword(text)
		}
	case "totp":
		if text, err = strictjson.String(value); err == nil {
			if u.TOTP, err = base64url.DecodeString(text); err != nil || len(u.TOTP) < 32 {
				err = errors.New("what `caddy moat user totp` makes is expected")
			}
		}
	case "recovery":
		u.Recovery, err = strictjson.List(value, func(s string) (string, error) {
			if b, err := hex.DecodeString(s); err != nil || len(b) != 32 || hex.EncodeToString(b) != s {
				return "", errors.New("64 hex digits are expected")
			}
			return s, nil
		})
	default:
		err = strictjson.ErrUnknown
	}
	return err
}

// CheckUser says why a text cannot be a user, nil if it can.
func CheckUser(id string) error {
	if err := apikey.CheckName(id); err != nil {
		return err
	}
	if id != strings.ToLower(id) || strings.ContainsAny(id, ", ") {
		// Whoever types Alice means alice, and there must not be two.
		return errors.New("a user has a name in small letters, without space and comma")
	}
	return nil
}

// EditUsers changes the users in a file: change gets what is there, without users
// where there is no file. See fileedit.Edit.
func EditUsers(path string, change func(*UserFile) error) error {
	return fileedit.Edit(path, MaxSize, func(text []byte) ([]byte, error) {
		f := new(UserFile)
		var err error
		if text != nil {
			if f, err = ParseUsers(text); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		if err := change(f); err != nil {
			return nil, err
		}
		after := f.Append(nil)
		// What cannot be read again must not be written.
		if _, err := ParseUsers(after); err != nil {
			return nil, fmt.Errorf("%s would no longer be a file of users: %w", path, err)
		}
		return after, nil
	})
}

// LoadUsers reads a file of users once.
func LoadUsers(path string) (*UserFile, error) {
	text, err := filewatch.Read(path, MaxSize)
	if err != nil {
		return nil, err
	}
	return ParseUsers(text)
}

// Vault keeps the second factors of users: it seals what must be read again, and
// hashes the rest.
type Vault struct{ state *State }

// NewVault returns the vault of a secret.
func NewVault(secret []byte) (*Vault, error) {
	s, err := NewState(nil, "second factors", secret)
	return &Vault{s}, err
}

// Check is a text that tells vaults apart.
func (v *Vault) Check() string { return v.recoveryHash(&User{}, "check")[:16] }

// ErrVault says that a secret for one-time codes was sealed with another key.
var ErrVault = errors.New("the secret for one-time codes was sealed with the key of another storage: make it with `caddy moat user totp`, run as the user whom the server runs as")

func (v *Vault) opens(u *User) bool {
	var key []byte
	return v.state.Open("totp "+u.ID, base64url.EncodeToString(u.TOTP), &key) == nil
}

// base32text is how authenticators read secrets.
var base32text = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewTOTP gives a user another secret for one-time codes (RFC 6238) and other
// recovery codes, and returns both as texts.
func (v *Vault) NewTOTP(u *User) (secret string, recovery []string, err error) {
	key := make([]byte, 20)
	_, _ = rand.Read(key) // never fails
	sealed, err := v.state.Seal("totp "+u.ID, key)
	if err != nil {
		return "", nil, err
	}
	if u.TOTP, err = base64url.DecodeString(sealed); err != nil {
		return "", nil, err
	}
	u.Recovery = nil
	for range recoveryCodes {
		b := make([]byte, 10)
		_, _ = rand.Read(b) // never fails
		text := strings.ToLower(base32text.EncodeToString(b))
		recovery = append(recovery, text[:4]+"-"+text[4:8]+"-"+text[8:12]+"-"+text[12:])
		u.Recovery = append(u.Recovery, v.recoveryHash(u, text))
	}
	return base32text.EncodeToString(key), recovery, nil
}

func (v *Vault) recoveryHash(u *User, text string) string {
	mac := hmac.New(sha256.New, v.state.tokens)
	mac.Write([]byte("recovery\x00" + u.ID + "\x00" + text))
	return hex.EncodeToString(mac.Sum(nil))
}

const totpStep = 30 // seconds

// totp is the code of a step (RFC 6238 section 4.2, RFC 4226 section 5.3).
func totp(key []byte, step int64) string {
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(step))) //nolint:gosec // after 1970
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}

// step returns the step that a code is of: the present one or one of its
// neighbours (RFC 6238 section 5.2).
func (v *Vault) step(u *User, text string, now time.Time) (step int64, ok bool) {
	var key []byte
	if v.state.Open("totp "+u.ID, base64url.EncodeToString(u.TOTP), &key) != nil {
		return 0, false
	}
	at := now.Unix() / totpStep
	for s := at - 1; s <= at+1; s++ {
		if subtle.ConstantTimeCompare([]byte(totp(key, s)), []byte(text)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok
}

type userTable struct {
	users map[string]*User
	lines map[string]string
}

// Users is a file of users, which is watched.
type Users struct {
	*filewatch.Kept[userTable]
	vault    *Vault
	nobody   Password
	turn     chan struct{}
	attempts *Attempts
	derived  func() // called for each hash, for tests
}

// OpenUsers reads a file of users and begins to watch it, as OpenClients does.
func OpenUsers(path string, vault *Vault, report func(filewatch.Event)) (*Users, error) {
	u := &Users{vault: vault, turn: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), attempts: NewAttempts(), derived: func() {}}
	var err error
	if u.nobody, err = NewPassword(random()); err != nil {
		return nil, err
	}
	u.Kept, err = filewatch.Keep(path, MaxSize, func(text []byte) (*userTable, error) {
		f, err := ParseUsers(text)
		if err != nil {
			return nil, err
		}
		t := &userTable{make(map[string]*User), make(map[string]string)}
		for _, user := range f.Users {
			if user.TOTP != nil && !vault.opens(user) {
				return nil, fmt.Errorf("user %s: %w", user.ID, ErrVault)
			}
			t.users[user.ID] = user
			t.lines[user.ID] = string(user.append(nil))
		}
		return t, nil
	}, func(before, after *userTable, err error) {
		e := difference(before.lines, after.lines)
		e.Err = err
		report(e)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// Len returns the number of users, whatever their state.
func (u *Users) Len() int { return len(u.Value().users) }

// Find returns the user of that ID, or nil.
func (u *Users) Find(id string) *User { return u.Value().users[id] }

// Errors of Login. Neither says what was wrong.
var (
	ErrLogin    = &Error{Status: http.StatusUnauthorized, Code: CodeAccessDenied, Description: "the user name, the password or the code is wrong"}
	errAttempts = &Error{Status: http.StatusTooManyRequests, Code: CodeAttempts, Description: "too many attempts"}
)

// patience is how long a login waits for its turn to be hashed.
const patience = 10 * time.Second

// Login checks the credentials of a user, and says how strong they were: 1 is a
// password, 2 a password and a second factor. An unknown user costs the same work
// as a wrong password. Attempts are limited by user and by address.
func (s *Server) Login(ctx context.Context, address, name, password, factor string) (user *User, acr string, err error) {
	name = strings.ToLower(strings.TrimSpace(name))
	now := s.Now()
	sum := sha256.Sum256([]byte(name)) // a name may be as long as a request
	keys := []string{"user\x00" + string(sum[:]), "address\x00" + address}
	if wait := s.Users.attempts.Take(keys, now); wait > 0 {
		e := *errAttempts
		e.RetryAfter = wait
		return nil, "", &e
	}
	user = s.Users.Find(name)
	right, err := s.Users.verify(ctx, user, password)
	if err != nil {
		return nil, "", err
	}
	if user == nil || !right || user.Disabled {
		return nil, "", ErrLogin.because(errors.New("unknown or disabled user, or wrong password"))
	}
	acr = "1"
	if user.TOTP != nil {
		if err := s.second(ctx, user, factor, now); err != nil {
			return nil, "", err
		}
		acr = "2"
	}
	s.Users.attempts.Forgive(keys)
	return user, acr, nil
}

// verify compares a password, with nobody's where there is no user.
func (u *Users) verify(ctx context.Context, user *User, password string) (bool, error) {
	against := &u.nobody
	if user != nil {
		against = &user.Password
	}
	if len(password) > maxPassword {
		password = ""
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Each hash takes much memory: a few at once, so that a flood cannot take all.
	select {
	case u.turn <- struct{}{}:
		defer func() { <-u.turn }()
	case <-ctx.Done():
		return false, unavailable(errors.New("too many logins at once"))
	}
	u.derived()
	return subtle.ConstantTimeCompare(against.of(password), against.Hash) == 1 && user != nil, nil
}

// second checks the second factor of a user: a one-time code, or a recovery code.
// Each is accepted once (RFC 6238 section 5.2).
func (s *Server) second(ctx context.Context, u *User, text string, now time.Time) error {
	text = strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(text))
	if step, ok := s.Users.vault.step(u, text, now); ok {
		made := time.Unix(step*totpStep, 0)
		err := s.Used.Use(ctx, replay.Entry{Scope: "totp\x00" + u.ID, Value: fmt.Sprint(step), Made: made, Until: made.Add(3 * totpStep * time.Second)}, now)
		// What is older than this process may have been used before it began.
		if errors.Is(err, replay.ErrReplayed) || errors.Is(err, replay.ErrOlder) {
			return ErrLogin.because(errors.New("the one-time code was used before"))
		}
		if err != nil {
			return unavailable(err)
		}
		return nil
	}
	hash := s.Users.vault.recoveryHash(u, text)
	if !slices.Contains(u.Recovery, hash) {
		return ErrLogin.because(errors.New("wrong or missing one-time code"))
	}
	fresh, err := s.State.once(ctx, "recovery/"+hash)
	if err == nil && !fresh {
		err = ErrLogin.because(errors.New("the recovery code was used before"))
	}
	return err
}
