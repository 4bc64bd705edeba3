@echo off
rem Produces numbers and tells in JSON which were acknowledged.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" org.apache.kafka.tools.VerifiableProducer %*
