@echo off
rem A shell for the nodes of a ZooKeeper.
if "%~1" == "" (
	echo USAGE: %0 zookeeper_host:port[/path] [args...]
	exit /B 1
)
"%~dp0kafka-run-class.bat" org.apache.zookeeper.ZooKeeperMain -server %*
