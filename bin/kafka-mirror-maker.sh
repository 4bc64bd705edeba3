#!/bin/sh
# Copies topics from one cluster into another.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka.tools.MirrorMaker "$@"
