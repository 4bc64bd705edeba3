@echo off
rem Consumes a topic and tells in JSON what happens.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" org.apache.kafka.tools.VerifiableConsumer %*
