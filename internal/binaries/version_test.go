package binaries

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestGitVersion makes a small repository and walks it through a release.
func TestGitVersion(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		if got := GitVersion(t.Context(), t.TempDir()); got != unversioned {
			t.Errorf("without git: got %q, want %q", got, unversioned)
		}
		return
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(),
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=2026-01-02T03:04:05+09:00",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_COMMITTER_DATE=2026-01-02T03:04:05+09:00")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	check := func(step, want string) {
		t.Helper()
		if got := GitVersion(t.Context(), dir); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("%s: got %q, want %s", step, got, want)
		}
	}
	commit := func(message string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(message), 0o644); err != nil {
			t.Fatal(err)
		}
		run("add", "file")
		run("commit", "-q", "-m", message)
	}

	check("no repository", regexp.QuoteMeta(unversioned))
	run("init", "-q")
	check("no commit", regexp.QuoteMeta(unversioned))
	commit("one")
	check("no tag", `v0\.0\.0-20260101180405-[0-9a-f]{12}`)
	run("tag", "nightly")
	check("a tag that is no version", `v0\.0\.0-20260101180405-[0-9a-f]{12}`)
	run("tag", "v0.1.0")
	check("at a tag", `v0\.1\.0`)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	check("with changes", `v0\.1\.0\+dirty`)
	commit("two")
	check("after a tag", `v0\.1\.1-0\.20260101180405-[0-9a-f]{12}`)
}
