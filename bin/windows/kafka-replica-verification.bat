@echo off
rem Compares what the replicas of partitions hold.
"%~dp0kafka-run-class.bat" kafka.tools.ReplicaVerificationTool %*
