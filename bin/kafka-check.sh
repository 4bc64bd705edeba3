#!/bin/sh
# Says what is wrong with log directories and what the next start would do about it. Changes nothing.
exec "${0%"${0##*/}"}./kafka-run-class.sh" kafka-check "$@"
