#!/bin/sh
# Sends the messages of a topic to another.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.tools.ReplayLogProducer "$@"
