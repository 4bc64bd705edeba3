#!/bin/sh
# A shell for the nodes of a ZooKeeper.
if [ $# -lt 1 ]; then
  echo "USAGE: $0 zookeeper_host:port[/path] [args...]"
  exit 1
fi
exec "${0%"${0##*/}"}./kafka-run-class.sh" org.apache.zookeeper.ZooKeeperMain -server "$@"
