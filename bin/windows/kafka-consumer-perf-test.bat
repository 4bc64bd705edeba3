@echo off
rem Measures how fast a consumer reads.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.tools.ConsumerPerformance %*
