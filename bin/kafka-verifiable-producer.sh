#!/bin/sh
# Produces numbers and tells in JSON which were acknowledged.
exec "${0%"${0##*/}"}./kafka-run-class.sh" org.apache.kafka.tools.VerifiableProducer "$@"
