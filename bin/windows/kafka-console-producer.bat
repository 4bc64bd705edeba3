@echo off
rem Sends lines of standard input to a topic.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.tools.ConsoleProducer %*
