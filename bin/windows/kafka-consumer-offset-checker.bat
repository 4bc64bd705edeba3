@echo off
rem Shows how far an old consumer group has come.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.tools.ConsumerOffsetChecker %*
