#!/bin/sh
# Measures how fast a consumer reads.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.tools.ConsumerPerformance "$@"
