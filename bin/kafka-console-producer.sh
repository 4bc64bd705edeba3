#!/bin/sh
# Sends lines of standard input to a topic.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.tools.ConsoleProducer "$@"
