@echo off
rem Starts the bundled ZooKeeper server.
if "%~1" == "" (
	echo USAGE: %0 zookeeper.properties
	exit /B 1
)
"%~dp0kafka-run-class.bat" org.apache.zookeeper.server.quorum.QuorumPeerMain %*
