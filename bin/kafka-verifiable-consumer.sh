#!/bin/sh
# Consumes a topic and tells in JSON what happens.
exec "${0%"${0##*/}"}./kafka-run-class.sh" org.apache.kafka.tools.VerifiableConsumer "$@"
