#!/bin/sh
# Gives leaderships back to preferred replicas.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.admin.PreferredReplicaLeaderElectionCommand "$@"
