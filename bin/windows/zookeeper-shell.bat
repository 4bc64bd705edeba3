@echo off
rem A shell for the nodes of a ZooKeeper.
setlocal DisableDelayedExpansion
set "KAFKA_LAUNCHER=%~0"
if "%~1" == "" set "KAFKA_USAGE=zookeeper_host:port[/path] [args...]"
"%~dp0kafka-run-class.bat" org.apache.zookeeper.ZooKeeperMain -server %*
