#!/bin/sh
# Prints the messages of one partition from one replica.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.tools.SimpleConsumerShell "$@"
