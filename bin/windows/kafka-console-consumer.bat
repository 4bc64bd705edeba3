@echo off
rem Prints the messages of topics.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.tools.ConsoleConsumer %*
