#!/bin/sh
# Starts a broker.
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] server.properties [--override property=value]*"
  exit 1
fi
daemon=
[ "$1" != -daemon ] || { daemon=-daemon; shift; }
exec "${0%"${0##*/}"}./kafka-run-class.sh" $daemon -name kafkaServer -loggc kafka.Kafka "$@"
