# Sourced by the tests of the command line, which print TAP:
#   test_X.sh UQMERGE JSON_GET
# Expected texts lie in expected/; UQM_REWRITE=1 writes them anew from what the program says.
uqmerge=$(realpath "$1")
json_get=$(realpath "$2")
work=$(mktemp -d "${TMPDIR:-/tmp}/uqm-cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
zoo=$UQM_ZOO tests=$UQM_TESTS
case $zoo$tests in
*[[:space:]]*) # words are made of them
    ln -s "$zoo" "$work/zoo"
    ln -s "$tests" "$work/tests"
    zoo=$work/zoo tests=$work/tests ;;
esac
count=0

# The program runs in $work; what it says is in $work/stdout and $work/stderr, its status in $status.
run() {
    status=0
    (cd "$work" && "$uqmerge" "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null) || status=$?
}

verdict() { # why not (empty: all is well), name
    count=$((count + 1))
    if [ "$1" ]; then
        echo "not ok $count - $2"
        echo "$1" | sed 's/^/# /'
        sed 's/^/# stdout: /' "$work/stdout" | head -n 20
        sed 's/^/# stderr: /' "$work/stderr" | head -n 20
    else
        echo "ok $count - $2"
    fi
}

# refuses STATUS TEXT NAME ARGUMENT...: one error line holding TEXT, nothing on standard output.
refuses() {
    wanted=$1 text=$2 name=$3
    shift 3
    run "$@"
    why=
    if [ "$status" != "$wanted" ]; then
        why="exit status $status, not $wanted"
    elif [ -s "$work/stdout" ]; then
        why='standard output is not empty'
    elif [ "$(grep -c '^uqmerge: error: ' "$work/stderr")" != 1 ]; then
        why='not one error line'
    elif ! grep -qF -- "$text" "$work/stderr"; then
        why="the error lacks \"$text\""
    fi
    verdict "$why" "$name"
}

# prints FILE NAME ARGUMENT...: exit status 0 and exactly the text of expected/FILE.
prints() {
    file=$UQM_TESTS/cli/expected/$1 name=$2
    shift 2
    run "$@"
    [ "${UQM_REWRITE:-}" ] && cp "$work/stdout" "$file"
    why=
    if [ "$status" != 0 ]; then
        why="exit status $status"
    elif ! diff -u "$file" "$work/stdout" > "$work/difference" 2>&1; then
        why='another text than expected'
        sed 's/^/# /' "$work/difference"
    fi
    verdict "$why" "$name"
}

# holds CONDITION NAME: a shell condition on what the last run left.
holds() {
    if eval "$1"; then
        verdict '' "$2"
    else
        verdict "status $status; does not hold: $1" "$2"
    fi
}

# The value at a path of the JSON on standard output; "!" when there is none.
value() {
    "$json_get" "$1" < "$work/stdout" 2> /dev/null || echo '!'
}

finish() {
    echo "1..$count"
}
