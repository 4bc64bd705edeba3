#!/bin/sh
# Moves partitions between brokers.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.admin.ReassignPartitionsCommand "$@"
