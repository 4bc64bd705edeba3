#!/bin/sh
# Lists and describes consumer groups, and removes old ones.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.admin.ConsumerGroupCommand "$@"
