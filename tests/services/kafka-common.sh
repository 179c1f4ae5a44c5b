# What the Kafka scripts share; sourced, not run.
VERSION=4.1.0

fetch_kafka() {
  cat >"$1/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
  mvn_fetch_all "$1/pom.xml" "$1/lib"
}
# Fetches Kafka, if it is not there yet.
prepare_kafka() {
  need java
  obtain "kafka-$VERSION" fetch_kafka
  CLASS_PATH="$CACHE/kafka-$VERSION/lib/*"
}
# Formats the storage of DIR/server.properties, once. Arguments go to the tool.
format_storage() {
  [ ! -e "$DIR/data/meta.properties" ] || return 0
  java -Xmx256m -XX:TieredStopAtLevel=1 -cp "$CLASS_PATH" kafka.tools.StorageTool \
    format -t "$(cluster_id)" -c "$DIR/server.properties" "$@" >"$DIR/format.log" 2>&1 ||
    { tail -n 20 "$DIR/format.log" >&2; die "cannot format the storage"; }
}
# Runs the broker of DIR/server.properties and waits until it answers.
run_broker() {
  spawn kafka java -Xmx512m -cp "$CLASS_PATH" kafka.Kafka "$DIR/server.properties"
  wait_for kafka started
}
# A random cluster id in the form that Kafka expects.
# 22 characters; the first is no "-", which the formatter would take for an option
cluster_id() { printf 'K%s' "$(head -c16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' | cut -c2-)"; }
started() { grep -q 'Kafka Server started' "$DIR/kafka.log"; }
