#!/bin/sh
# Starts the bundled ZooKeeper server.
if [ $# -lt 1 ]; then
  echo "USAGE: $0 zookeeper.properties"
  exit 1
fi
daemon=
[ "$1" != -daemon ] || { daemon=-daemon; shift; }
exec "${0%"${0##*/}"}./kafka-run-class.sh" $daemon -name zookeeper -loggc org.apache.zookeeper.server.quorum.QuorumPeerMain "$@"
