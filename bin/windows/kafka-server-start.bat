@echo off
rem Starts a broker.
setlocal DisableDelayedExpansion
set "KAFKA_LAUNCHER=%~0"
if "%~1" == "" set "KAFKA_USAGE=server.properties [--override property=value]*"
"%~dp0kafka-run-class.bat" kafka.Kafka %*
