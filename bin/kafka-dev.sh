#!/bin/sh
# Starts ZooKeeper and a broker in one process, for trying things and for tests.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.Dev "$@"
