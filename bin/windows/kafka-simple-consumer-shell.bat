@echo off
rem Prints the messages of one partition from one replica.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.tools.SimpleConsumerShell %*
