@echo off
rem Starts a broker.
if "%~1" == "" (
	echo USAGE: %0 server.properties [--override property=value]*
	exit /B 1
)
"%~dp0kafka-run-class.bat" kafka.Kafka %*
