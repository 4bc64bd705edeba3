@echo off
rem Runs one program of kafka.exe, called by its Java class name or by its own name. What all launchers
rem have in common is here; the others say which class, and perhaps what they need.
rem
rem Environment: LOG_DIR (where log files go), KAFKA_LOG4J_OPTS, KAFKA_OPTS, KAFKA_JMX_OPTS, JMX_PORT.
rem KAFKA_HEAP_OPTS and the other settings of a JVM are accepted and mean nothing: there is no JVM.
rem
rem A path may hold blanks, parentheses, ampersands and exclamation marks: every one stands in quotes,
rem delayed expansion is off, and none stands in a block of parentheses, which is expanded before it is read.
setlocal DisableDelayedExpansion

rem Explorer starts a file by   cmd.exe /c ""D:\path\file.bat" "   in a window that closes with it.
set "WINDOW_CLOSES="
if not defined CMDCMDLINE goto find
set "STARTED_BY=%CMDCMDLINE:"=q%"
if "%STARTED_BY:~-3%" == "q q" set "WINDOW_CLOSES=yes"

:find
if "%~1" == "" set "KAFKA_USAGE=classname [opts]"
if defined KAFKA_USAGE goto usage
for %%I in ("%~dp0..\..") do set "BASE_DIR=%%~fI"
if not defined LOG_DIR set "LOG_DIR=%BASE_DIR%\logs"

set "KAFKA_EXE=%~dp0kafka.exe"
if exist "%KAFKA_EXE%" goto start
set "KAFKA_EXE=%BASE_DIR%\libs\kafka.exe"
if exist "%KAFKA_EXE%" goto start
set "KAFKA_EXE=%BASE_DIR%\target\release\kafka.exe"
if exist "%KAFKA_EXE%" goto start
set "KAFKA_EXE=%BASE_DIR%\target\x86_64-pc-windows-gnu\release\kafka.exe"
if exist "%KAFKA_EXE%" goto start
echo There is no kafka.exe in bin\windows, libs or target\release of "%BASE_DIR%". To build it: 1>&2
echo   cargo build --release 1>&2
if defined WINDOW_CLOSES pause
exit /B 2

:start
if defined KAFKA_HEAP_OPTS echo KAFKA_HEAP_OPTS is ignored: there is no Java heap. 1>&2
set "LOG4J=tools-log4j.properties"
if "%~1" == "kafka.Kafka" set "LOG4J=log4j.properties"
if "%~1" == "org.apache.zookeeper.server.quorum.QuorumPeerMain" set "LOG4J=log4j.properties"
if not defined KAFKA_LOG4J_OPTS set KAFKA_LOG4J_OPTS="-Dlog4j.configuration=file:%BASE_DIR%\config\%LOG4J%"
if defined JMX_PORT set KAFKA_JMX_OPTS=%KAFKA_JMX_OPTS% -Dcom.sun.management.jmxremote.port=%JMX_PORT%

"%KAFKA_EXE%" "-Dkafka.logs.dir=%LOG_DIR%" %KAFKA_LOG4J_OPTS% %KAFKA_JMX_OPTS% %KAFKA_OPTS% %*
set "CODE=%ERRORLEVEL%"
rem Done, or ended by someone: nothing to read.
for %%N in (0 130 143) do if "%CODE%" == "%%N" set "WINDOW_CLOSES="
if defined WINDOW_CLOSES pause
exit /B %CODE%

:usage
if not defined KAFKA_LAUNCHER set "KAFKA_LAUNCHER=%~0"
for %%I in ("%KAFKA_LAUNCHER%") do echo USAGE: %%~I %KAFKA_USAGE%
if defined WINDOW_CLOSES pause
exit /B 1
