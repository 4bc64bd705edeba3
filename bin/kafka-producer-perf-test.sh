#!/bin/sh
# Measures how fast a producer sends.
exec "${0%"${0##*/}"}./kafka-run-class.sh" org.apache.kafka.tools.ProducerPerformance "$@"
