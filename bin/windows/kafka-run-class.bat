@echo off
rem Runs one program of kafka.exe, called by its Java class name or by its own name. What all launchers
rem have in common is here; the others are one line that names the class.
rem
rem Environment: LOG_DIR (where log files go), KAFKA_LOG4J_OPTS, KAFKA_OPTS, KAFKA_JMX_OPTS, JMX_PORT.
rem KAFKA_HEAP_OPTS and the other settings of a JVM are accepted and mean nothing: there is no JVM.
setlocal
if "%~1" == "" (
	echo USAGE: %0 classname [opts]
	exit /B 1
)
pushd "%~dp0..\.."
set "BASE_DIR=%CD%"
popd
if not defined LOG_DIR set "LOG_DIR=%BASE_DIR%\logs"

set "KAFKA_EXE="
if exist "%BASE_DIR%\target\release\kafka.exe" set "KAFKA_EXE=%BASE_DIR%\target\release\kafka.exe"
if exist "%BASE_DIR%\libs\kafka.exe" set "KAFKA_EXE=%BASE_DIR%\libs\kafka.exe"
if exist "%~dp0kafka.exe" set "KAFKA_EXE=%~dp0kafka.exe"
if not defined KAFKA_EXE (
	echo There is no kafka.exe in bin\windows, libs or target\release of "%BASE_DIR%". To build it: 1>&2
	echo   cargo build --release 1>&2
	exit /B 2
)
if defined KAFKA_HEAP_OPTS echo KAFKA_HEAP_OPTS is ignored: there is no Java heap. 1>&2

set "LOG4J=tools-log4j.properties"
if "%~1" == "kafka.Kafka" set "LOG4J=log4j.properties"
if "%~1" == "org.apache.zookeeper.server.quorum.QuorumPeerMain" set "LOG4J=log4j.properties"
if not defined KAFKA_LOG4J_OPTS set KAFKA_LOG4J_OPTS="-Dlog4j.configuration=file:%BASE_DIR%\config\%LOG4J%"
if defined JMX_PORT set "KAFKA_JMX_OPTS=%KAFKA_JMX_OPTS% -Dcom.sun.management.jmxremote.port=%JMX_PORT%"

"%KAFKA_EXE%" "-Dkafka.logs.dir=%LOG_DIR%" %KAFKA_LOG4J_OPTS% %KAFKA_JMX_OPTS% %KAFKA_OPTS% %*
