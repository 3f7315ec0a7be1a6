#!/usr/bin/env bash
# run.sh: fuzzes the tokenizer, from the committed corpus.
#
#   test/fuzz/run.sh [runs [jobs]]    about 30 seconds, or so many runs in each of so many processes,
#                                     and a twentieth of that with longer texts
#
# First a bug is put into a copy of the tokenizer, which must be found. Ends with a
# non-zero status if it is not, or if anything is found in the tokenizer itself.

. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"

need_packages clang
need_packages "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
make_scratch
trap 'rm -rf "$scratch"' EXIT
copy_source
cd "$scratch/source"
include=$("/usr/lib/postgresql/$pg_major/bin/pg_config" --includedir-server)

# Builds the harness around a tokenizer. What the fuzzer learns from is the
# tokenizer's own branches; to trace comparisons as well would take half of the time.
build() {
    local flags="-g -O2 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -Wno-ignored-attributes -Isrc -I$include"
    as_user clang $flags -c -o "$2.harness.o" test/fuzz/tokenizer_fuzz.c
    as_user clang $flags -c -o "$2.tables.o" src/fold_tables.c
    as_user clang $flags -fsanitize-coverage=inline-8bit-counters,pc-table -c -o "$2.tokenizer.o" "$1"
    as_user clang $flags -fsanitize=fuzzer -o "$2" "$2.harness.o" "$2.tables.o" "$2.tokenizer.o"
}

# where libFuzzer leaves what it finds, and what it learns
as_user mkdir "$scratch/found" "$scratch/corpus"

say "a bug that must be found"
sed 's/t->nchars + 1 >= t->chars_size/t->nchars >= t->chars_size/' src/tokenizer.c >"$scratch/source/src/broken.c"
! cmp -s src/tokenizer.c src/broken.c || fail "The bug was not put in."
build src/broken.c "$scratch/broken"
! as_user "$scratch/broken" -max_total_time=60 -artifact_prefix="$scratch/found/" "$scratch/corpus" test/fuzz/corpus >"$scratch/broken.log" 2>&1 ||
    fail "It was not found."
sed -n 's/^SUMMARY: /found: /p' "$scratch/broken.log"

say "the tokenizer"
build src/tokenizer.c "$scratch/fuzz"
# fuzz name limits...
fuzz() {
    local name=$1
    shift
    as_user mkdir "$scratch/corpus$name"
    as_user env ASAN_OPTIONS=malloc_context_size=1 "$scratch/fuzz" "$@" -dict=test/fuzz/tokenizer.dict -entropic=0 -reduce_inputs=0 -timeout=60 \
        -print_final_stats=1 -artifact_prefix="$scratch/found/" "$scratch/corpus$name" test/fuzz/corpus >"$scratch/fuzz$name.log" 2>&1
}
if [ $# -ge 1 ]; then
    short="-runs=$1" long="-runs=$(($1 / 20))"
else
    short='-max_total_time=25' long='-max_total_time=5'
fi
status=0
pids=
for job in $(seq "${2:-1}"); do
    fuzz "$job" -max_len=64 "$short" -seed="$job" &
    pids="$pids $!"
done
for pid in $pids; do wait "$pid" || status=1; done
# longer than what counts of an atom and of an address
fuzz 0 -max_len=3000 "$long" -seed=1 || status=1
grep -h -E '^(SUMMARY|not true|.*runtime error)|stat::(number_of_executed_units|average_exec_per_sec)' "$scratch"/fuzz[0-9]*.log || true
for found in "$scratch"/found/*; do
    [ ! -e "$found" ] || [ $status = 0 ] || { echo "input:"; od -c "$found" | head -20; }
done
[ "$status" = 0 ]
