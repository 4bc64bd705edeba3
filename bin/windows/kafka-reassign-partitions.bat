@echo off
rem Moves partitions between brokers.
"%~dp0kafka-run-class.bat" kafka.admin.ReassignPartitionsCommand %*
