#!/bin/sh
# Runs one program of the kafka binary, called by its Java class name or by its own name. What all
# launchers have in common is here; the others are one line that names the class.
#
# Environment: LOG_DIR (where log files go), KAFKA_LOG4J_OPTS (-Dlog4j.configuration=file:...), KAFKA_OPTS
# and KAFKA_JMX_OPTS (-Dname=value ...), JMX_PORT. KAFKA_HEAP_OPTS and the other settings of a JVM are
# accepted and mean nothing: there is no JVM.

if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] [-name servicename] [-loggc] classname [opts]"
  exit 1
fi

# Who starts us with an empty environment means the system's own commands.
: "${PATH:=/usr/local/bin:/usr/bin:/bin}"
unset CDPATH

# The directory above this script's own, wherever symlinks to it stand.
self=$0
while [ -h "$self" ]; do
  link=$(readlink "$self")
  case $link in
    /*) self=$link ;;
    *) self=${self%"${self##*/}"}$link ;;
  esac
done
base_dir=$(cd -P "${self%"${self##*/}"}./.." && pwd) || exit 1
: "${LOG_DIR:=$base_dir/logs}"

daemon=
name=kafka
while [ $# -gt 0 ]; do
  case $1 in
    -name) name=$2; [ $# -lt 2 ] || shift; shift ;;
    -loggc) shift ;; # there is no garbage to log
    -daemon) daemon=yes; shift ;;
    *) break ;;
  esac
done
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] [-name servicename] [-loggc] classname [opts]"
  exit 1
fi

program=
for candidate in "$base_dir/bin/kafka" "$base_dir/libs/kafka" "$base_dir/target/release/kafka"; do
  if [ -f "$candidate" ] && [ -x "$candidate" ]; then
    program=$candidate
    break
  fi
done
if [ -z "$program" ]; then
  echo "There is no kafka binary in bin, libs or target/release of $base_dir. To build it:" >&2
  echo "  (cd '$base_dir' && cargo build --release)" >&2
  exit 1
fi

if [ -n "$KAFKA_HEAP_OPTS" ]; then
  echo "KAFKA_HEAP_OPTS is ignored: there is no Java heap." >&2
fi

case $1 in
  kafka.Kafka | kafka-server-start) log4j=log4j.properties ;;
  org.apache.zookeeper.server.quorum.QuorumPeerMain | zookeeper-server-start) log4j=log4j.properties ;;
  *) log4j=tools-log4j.properties ;;
esac

# The variables hold words, as they do for Kafka's own script; a path of ours may hold blanks.
set -f
# shellcheck disable=SC2086
set -- $KAFKA_LOG4J_OPTS $KAFKA_JMX_OPTS $KAFKA_OPTS "$@"
if [ -z "$KAFKA_LOG4J_OPTS" ] && [ -f "$base_dir/config/$log4j" ]; then
  set -- "-Dlog4j.configuration=file:$base_dir/config/$log4j" "$@"
fi
if [ -n "$JMX_PORT" ]; then
  set -- "-Dcom.sun.management.jmxremote.port=$JMX_PORT" "$@"
fi
set -- "-Dkafka.logs.dir=$LOG_DIR" "$@"

if [ -n "$daemon" ]; then
  mkdir -p "$LOG_DIR" || exit 1
  (
    trap '' HUP
    exec "$program" "$@" > "$LOG_DIR/$name.out" 2>&1 < /dev/null
  ) &
  exit 0
fi
exec "$program" "$@"
