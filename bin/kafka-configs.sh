#!/bin/sh
# Describes and changes the settings of topics and clients.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.admin.ConfigCommand "$@"
