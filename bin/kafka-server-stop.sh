#!/bin/sh
# Stops the brokers on this machine, in order.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka-server-stop "$@"
