@echo off
rem Starts the bundled ZooKeeper server.
setlocal DisableDelayedExpansion
set "KAFKA_LAUNCHER=%~0"
if "%~1" == "" set "KAFKA_USAGE=zookeeper.properties"
"%~dp0kafka-run-class.bat" org.apache.zookeeper.server.quorum.QuorumPeerMain %*
