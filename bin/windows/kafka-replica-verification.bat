@echo off
rem Compares what the replicas of partitions hold.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.tools.ReplicaVerificationTool %*
