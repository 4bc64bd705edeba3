@echo off
rem Moves partitions between brokers.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.admin.ReassignPartitionsCommand %*
