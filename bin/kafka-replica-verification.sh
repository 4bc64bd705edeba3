#!/bin/sh
# Compares what the replicas of partitions hold.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.tools.ReplicaVerificationTool "$@"
