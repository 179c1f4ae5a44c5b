# What the service scripts share; sourced, not run.
#
# A service script has two verbs: "start DIR [PORT]" brings the service up on 127.0.0.1 with its data, log and pid file
# in DIR, waits until it answers and prints "export K2_TEST_…=…" lines; "stop DIR" ends it and leaves the data, so that
# a second start finds it again. Downloads are kept in $K2_CACHE.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
NAME=$(basename "$0")
CACHE=${K2_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/k2/services}
DEADLINE=${K2_START_DEADLINE:-120} # seconds a service has to answer

say() { echo "$NAME: $*" >&2; }
die() { say "$@"; exit 1; }
need() {
  local c
  for c in "$@"; do
    command -v "$c" >/dev/null || die "needs the command $c: run $HERE/install as root, or install it by hand"
  done
}

# Reads "start DIR [PORT]" or "stop DIR" and calls start_service or stop_service.
main() {
  [ $# -ge 2 ] || die "usage: $NAME start DIR [PORT] | $NAME stop DIR"
  local verb=$1 f
  mkdir -p "$2"
  DIR=$(cd "$2" && pwd)
  PORT=${3:-}
  case $verb in
    start)
      for f in "$DIR"/*.pid; do
        ! alive "$f" || die "already running in $DIR (stop it first)"
      done
      mkdir -p "$CACHE"
      CACHE=$(cd "$CACHE" && pwd)
      start_service
      ;;
    stop) stop_service ;;
    *) die "unknown verb $verb" ;;
  esac
}

# Puts a free TCP port of 127.0.0.1 into VAR; one script run never gets the same one twice. Below the range that the
# kernel gives to outgoing connections.
USED_PORTS=" "
free_port() { # VAR
  local p
  while :; do
    p=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    [[ $USED_PORTS != *" $p "* ]] || continue
    ! tcp_ok "$p" 2>/dev/null || continue
    USED_PORTS+="$p "
    printf -v "$1" %s "$p"
    return
  done
}
# VAR gets PORT+OFFSET when a port was given, else a free one.
pick_port() { # VAR OFFSET
  if [ -z "$PORT" ]; then
    free_port "$1"
    return
  fi
  printf -v "$1" %s $((PORT + $2))
  ! tcp_ok "${!1}" 2>/dev/null || die "port ${!1} is taken"
}

# Fills CACHE/KEY once: FUNC gets an empty folder, which is then renamed. A lock keeps parallel runs apart.
obtain() { # KEY FUNC
  local key=$1 func=$2 tmp
  [ ! -e "$CACHE/$key" ] || return 0
  need flock
  (
    flock 9
    [ ! -e "$CACHE/$key" ] || exit 0
    say "obtaining $key (once)"
    tmp=$CACHE/.$key.$$
    rm -rf "$tmp"
    mkdir -p "$tmp"
    # a plain call, so that set -e stays in force inside FUNC
    (
      set -e
      trap '[ $? = 0 ] || rm -rf "$tmp"' EXIT
      "$func" "$tmp" >&2
    )
    mv "$tmp" "$CACHE/$key"
  ) 9>"$CACHE/.$key.lock"
}
# Fetches one artefact, GROUP:ARTIFACT:VERSION:TYPE:CLASSIFIER, into a folder.
mvn_fetch() { # COORDINATES FOLDER
  need mvn
  mvn -q -B -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact="$1" -DoutputDirectory="$2"
}
# Fetches what a pom file depends on into a folder.
mvn_fetch_all() { # POM FOLDER
  need mvn
  mvn -q -B -Dstyle.color=never -f "$1" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$2"
}

# The start time of a process tells it from a later one with the same id.
born() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
alive() { # PIDFILE
  local pid when
  [ -s "$1" ] && read -r pid when <"$1" && [ -n "$when" ] && [ "$(born "$pid")" = "$when" ] &&
    [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1)" != Z ]
}
# Runs a command in the background, in a session of its own; its process id goes to DIR/TAG.pid, its output to DIR/TAG.log.
spawn() { # TAG COMMAND...
  local tag=$1
  shift
  setsid "$@" >"$DIR/$tag.log" 2>&1 </dev/null &
  local pid=$!
  echo "$pid $(born "$pid")" >"$DIR/$tag.pid"
}
halt() { # TAG [SIGNAL]
  local f=$DIR/$1.pid pid
  [ -e "$f" ] || return 0
  if alive "$f"; then
    read -r pid _ <"$f"
    kill -"${2:-TERM}" "$pid" 2>/dev/null || true
    for _ in $(seq 150); do
      alive "$f" || break
      sleep 0.1
    done
    if alive "$f"; then
      say "killing $1"
      kill -9 "$pid" 2>/dev/null || true
    fi
  fi
  rm -f "$f"
}
fail_start() { # TAG WHY
  say "$2; the end of $DIR/$1.log:"
  tail -n 20 "$DIR/$1.log" >&2 || true
  stop_service
  exit 1
}
# Waits until COMMAND succeeds, the process is gone or the deadline has passed.
wait_for() { # TAG COMMAND...
  local tag=$1 end=$((SECONDS + DEADLINE))
  shift
  until "$@" >/dev/null 2>&1; do
    alive "$DIR/$tag.pid" || fail_start "$tag" "$tag ended while starting"
    [ $SECONDS -lt $end ] || fail_start "$tag" "$tag did not answer in $DEADLINE s"
    sleep 0.1
  done
  # another process may hold the port: ours must still be there
  sleep 0.1
  alive "$DIR/$tag.pid" || fail_start "$tag" "$tag ended while starting"
}
http_ok() { curl -fsS --max-time 5 -o /dev/null "$@"; }
tcp_ok() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }
# Prints "export NAME=value", quoted where a shell needs it.
emit() { # NAME VALUE
  local v=$2
  [[ $v =~ ^[A-Za-z0-9_.,:/@%+=-]*$ ]] || v=$(printf %q "$v")
  echo "export $1=$v"
}
