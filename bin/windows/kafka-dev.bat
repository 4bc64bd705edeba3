@echo off
rem Starts ZooKeeper and a broker in one process, for trying things and for tests.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.Dev %*
