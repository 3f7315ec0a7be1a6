# environment.sh: what "make check", "make demo" and CI share. To be sourced.
#
# Everything happens in a scratch directory: a copy of this checkout, and a copy
# of the installed PostgreSQL into which the extension is installed. The copy is
# relocatable, so neither the system's PostgreSQL nor a running server is
# touched. Servers refuse to run as root: as root, all that is run as the user
# "postgres", whom Debian's packages make.

set -eu

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "== $*"; }

fail() { printf '%s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else fail "Packages are missing ($*): run this as root, or install sudo."
    fi
}

# The newest installed major version of PostgreSQL's server, or nothing.
installed_major() {
    ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | cut -d/ -f5 | sort -n | tail -n 1
}

# Installs what is missing: PostgreSQL, its headers and test modules, a compiler.
need_packages() {
    local major packages=() package
    major=${PG_MAJOR:-$(installed_major)}
    if [ -z "$major" ]; then
        as_root apt-get update -qq
        major=$(apt-cache show postgresql | sed -n 's/^Version: \([0-9]*\).*/\1/p' | head -n 1)
    fi
    for package in "postgresql-$major" "postgresql-server-dev-$major" gcc libc6-dev make libipc-run-perl "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || packages+=("$package")
    done
    if [ ${#packages[@]} -gt 0 ]; then
        say "installing ${packages[*]}"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${packages[@]}" >/dev/null
    fi
    pg_major=$major
}

# Installs what some tests need, as far as it can be had; "%" stands for the major
# version of PostgreSQL. Tests whose package is missing say so and are skipped.
need_optional_packages() {
    local package packages=()
    for package in "${@//%/$pg_major}"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed && continue
        [ ${#packages[@]} -gt 0 ] || as_root apt-get update -qq
        if apt-cache show "$package" >/dev/null 2>&1; then packages+=("$package"); else say "no package $package"; fi
    done
    [ ${#packages[@]} = 0 ] || need_packages "${packages[@]}"
}

# Runs a command as an ordinary user.
as_user() {
    if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

# A scratch directory that the ordinary user owns, with a short path, since
# sockets live in it. Removed at exit unless kept.
make_scratch() {
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/profiles.XXXXXX")
    [ "$(id -u)" != 0 ] || chown postgres "$scratch"
    chmod 755 "$scratch"
}

# Copies the checkout to $scratch/source: what git tracks and what is new.
copy_source() {
    mkdir "$scratch/source"
    if git -C "$checkout" -c safe.directory="$checkout" rev-parse --git-dir >/dev/null 2>&1; then
        git -C "$checkout" -c safe.directory="$checkout" ls-files -z --cached --others --exclude-standard
    else
        (cd "$checkout" && find . -type f ! -name '*.o' ! -name '*.so' -print0)
    fi | (cd "$checkout" && xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh) |
        tar -C "$checkout" --null -T - -cf - | tar -C "$scratch/source" -xf -
    [ "$(id -u)" != 0 ] || chown -R postgres "$scratch/source"
}

# Copies PostgreSQL to $scratch/tree, and sets bindir and pgxs_test to it.
copy_postgresql() {
    local part
    for part in "/usr/lib/postgresql/$pg_major" "/usr/share/postgresql/$pg_major"; do
        mkdir -p "$scratch/tree$(dirname "$part")"
        cp -a "$part" "$scratch/tree$part"
    done
    [ "$(id -u)" != 0 ] || chown -R postgres "$scratch/tree"
    bindir=$scratch/tree/usr/lib/postgresql/$pg_major/bin
    pgxs_test=$(dirname "$("/usr/lib/postgresql/$pg_major/bin/pg_config" --pgxs)")/../test
}

# Builds $scratch/source and installs it into the copy of PostgreSQL.
# Arguments go to make.
build_and_install() {
    (cd "$scratch/source" &&
        as_user make -s with_llvm=no PG_CONFIG="/usr/lib/postgresql/$pg_major/bin/pg_config" "$@" all &&
        as_user make -s with_llvm=no PG_CONFIG="/usr/lib/postgresql/$pg_major/bin/pg_config" \
            DESTDIR="$scratch/tree" "$@" install) || fail "The build failed."
}
