@echo off
rem Gives leaderships back to preferred replicas.
"%~dp0kafka-run-class.bat" kafka.admin.PreferredReplicaLeaderElectionCommand %*
