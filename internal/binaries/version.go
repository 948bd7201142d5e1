package binaries

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// unversioned is what go.mod files say of a module that is replaced by a folder.
const unversioned = "v0.0.0-00010101000000-000000000000"

// dirty ends the version of a checkout that is not as it was committed.
const dirty = "+dirty"

// release is a tag that is a version of this module: v1.2.3 or v1.2.3-rc.1. From
// v2 on the module would have another path.
var release = regexp.MustCompile(`^v([01])\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?$`)

// GitVersion returns the version of the checkout at root as Go would name it:
// the tag when HEAD has one, otherwise the pseudo-version of the commit, and
// "+dirty" behind it when files differ from that commit. Without git, or outside a
// repository, it is v0.0.0 with the zero commit.
func GitVersion(ctx context.Context, root string) string {
	version := committedVersion(ctx, root)
	if changes, err := git(ctx, root, "status", "--porcelain"); err == nil && changes != "" && version != unversioned {
		version += dirty
	}
	return version
}

func committedVersion(ctx context.Context, root string) string {
	if tags, err := git(ctx, root, "tag", "--points-at", "HEAD", "--sort=-version:refname"); err == nil {
		for tag := range strings.FieldsSeq(tags) {
			if release.MatchString(tag) {
				return tag
			}
		}
	}
	// Go orders a pseudo-version after the release it follows, so the base is
	// the nearest tag below HEAD with its last number raised.
	commit, err := git(ctx, root, "-c", "core.abbrev=12", "show", "-s", "--date=format-local:%Y%m%d%H%M%S", "--format=%cd-%H", "HEAD")
	if err != nil || len(commit) < 15+12 {
		return unversioned
	}
	tag, _ := git(ctx, root, "describe", "--tags", "--abbrev=0", "--match=v[0-9]*", "HEAD")
	return pseudoVersion(tag, commit[:15+12])
}

// pseudoVersion follows the rules of https://go.dev/ref/mod#pseudo-versions.
// commit is "yyyymmddhhmmss-" and twelve digits of the commit hash.
func pseudoVersion(tag, commit string) string {
	m := release.FindStringSubmatch(tag)
	switch {
	case m == nil:
		return "v0.0.0-" + commit
	case m[4] != "":
		return tag + ".0." + commit
	}
	patch, err := strconv.Atoi(m[3])
	if err != nil {
		return "v0.0.0-" + commit
	}
	return fmt.Sprintf("v%s.%s.%d-0.%s", m[1], m[2], patch+1, commit)
}

// git runs git in root with the clock in UTC and returns its trimmed output.
func git(ctx context.Context, root string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "TZ=UTC")
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
