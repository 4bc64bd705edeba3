#!/bin/sh
# Prints the messages of topics.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.tools.ConsoleConsumer "$@"
