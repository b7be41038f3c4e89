# Keeps one broker for the process at the other end of stdin, and ends it, whatever became of that process, when stdin closes.
# Usage: warden.sh DIR COMMAND...   One order a line: start, term, kill, freeze, thaw; each is answered by one line.
trap '' INT
dir=$1
shift
pid=

signal() {
    [ -z "$pid" ] || kill "-$1" "$pid" 2>/dev/null
}

end() {
    signal "$1"
    [ -z "$pid" ] || wait "$pid" 2>/dev/null
    pid=
}

while read -r order; do
    case $order in
        start) "$@" </dev/null >>"$dir/broker.log" 2>&1 & pid=$! ;;
        term) end TERM ;;
        kill) end KILL ;;
        freeze) signal STOP ;;
        thaw) signal CONT ;;
    esac
    echo "$order $pid"
done
end KILL
rm -rf "$dir"
