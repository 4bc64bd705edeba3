#!/bin/sh
# Creates, lists, describes, alters and deletes topics.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.admin.TopicCommand "$@"
