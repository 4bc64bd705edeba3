@echo off
rem Sends the messages of a topic to another.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.tools.ReplayLogProducer %*
