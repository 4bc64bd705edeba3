#!/bin/sh
# Stops the bundled ZooKeeper servers on this machine.
exec "${0%"${0##*/}"}./kafka-run-class.sh" zookeeper-server-stop "$@"
