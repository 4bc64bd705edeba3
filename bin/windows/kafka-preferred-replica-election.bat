@echo off
rem Gives leaderships back to preferred replicas.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.admin.PreferredReplicaLeaderElectionCommand %*
