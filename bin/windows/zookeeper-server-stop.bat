@echo off
rem Stops the bundled ZooKeeper servers on this machine.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" zookeeper-server-stop %*
