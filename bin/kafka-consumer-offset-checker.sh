#!/bin/sh
# Shows how far an old consumer group has come.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.tools.ConsumerOffsetChecker "$@"
